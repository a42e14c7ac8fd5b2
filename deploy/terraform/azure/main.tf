# A machine for an agent whose hosts are virtual machines of the resource group: its identity may do there what
# deploy/azure/role.json lists, and read what Azure lists for the subscription only.

locals {
  role = jsondecode(file("${path.module}/../../azure/role.json"))
}

data "azurerm_subscription" "present" {}

data "azurerm_resource_group" "present" {
  name = var.resource_group
}

resource "azurerm_user_assigned_identity" "agent" {
  name                = "repave-agent-${var.region}"
  resource_group_name = var.resource_group
  location            = var.location
}

resource "azurerm_role_definition" "agent" {
  name        = "repave agent of ${var.region}"
  description = local.role.Description
  scope       = data.azurerm_resource_group.present.id

  permissions {
    actions = local.role.Actions
  }
}

resource "azurerm_role_assignment" "agent" {
  scope              = data.azurerm_resource_group.present.id
  role_definition_id = azurerm_role_definition.agent.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.agent.principal_id
}

# Sizes, quotas and power states.
resource "azurerm_role_definition" "reader" {
  name  = "repave agent of ${var.region}, reader"
  scope = data.azurerm_subscription.present.id

  permissions {
    actions = [
      "Microsoft.Compute/locations/usages/read",
      "Microsoft.Compute/skus/read",
      "Microsoft.Compute/virtualMachines/read",
    ]
  }
}

resource "azurerm_role_assignment" "reader" {
  scope              = data.azurerm_subscription.present.id
  role_definition_id = azurerm_role_definition.reader.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.agent.principal_id
}

resource "azurerm_network_security_group" "agent" {
  name                = "repave-agent-${var.region}"
  resource_group_name = var.resource_group
  location            = var.location

  dynamic "security_rule" {
    for_each = length(local.ingress) > 0 ? [1] : []
    content {
      name                       = "traffic"
      priority                   = 100
      direction                  = "Inbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_port_range          = "*"
      source_address_prefixes    = var.client_cidrs
      destination_port_ranges    = [for port in var.traffic_ports : tostring(port)]
      destination_address_prefix = "*"
    }
  }

  security_rule {
    name                       = "packages"
    priority                   = 110
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_port_range          = "*"
    source_address_prefixes    = var.server_cidrs
    destination_port_range     = "7480"
    destination_address_prefix = "*"
  }

  # Azure's own rules let the whole virtual network in.
  security_rule {
    name                       = "nothing-else"
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_port_range          = "*"
    source_address_prefix      = "*"
    destination_port_range     = "*"
    destination_address_prefix = "*"
  }
}

resource "azurerm_network_interface" "agent" {
  name                = "repave-agent-${var.region}"
  resource_group_name = var.resource_group
  location            = var.location

  ip_configuration {
    name                          = "own"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Dynamic"
  }
}

resource "azurerm_network_interface_security_group_association" "agent" {
  network_interface_id      = azurerm_network_interface.agent.id
  network_security_group_id = azurerm_network_security_group.agent.id
}

resource "azurerm_linux_virtual_machine" "agent" {
  name                            = "repave-agent-${var.region}"
  resource_group_name             = var.resource_group
  location                        = var.location
  size                            = var.vm_size
  admin_username                  = "operator"
  disable_password_authentication = true
  network_interface_ids           = [azurerm_network_interface.agent.id]
  custom_data                     = base64encode(local.user_data)
  secure_boot_enabled             = true
  vtpm_enabled                    = true

  admin_ssh_key {
    username   = "operator"
    public_key = var.ssh_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.agent.id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
    disk_size_gb         = var.volume_gib
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }

  lifecycle {
    ignore_changes = [custom_data, source_image_reference]
  }

  depends_on = [azurerm_network_interface_security_group_association.agent]
}
