output "address" {
  value = azurerm_linux_virtual_machine.agent.private_ip_address
}

output "identity" {
  value = azurerm_user_assigned_identity.agent.principal_id
}
