output "address" {
  description = "The agent's fixed address: packages.listen is 7480 of it, and clients reach its HAProxy there."
  value       = one(openstack_networking_port_v2.agent.all_fixed_ips)
}

output "credential_id" {
  value = openstack_identity_application_credential_v3.agent.id
}

output "credential_secret" {
  description = "For auth.application_credential_secret in the agent's /etc/openstack/clouds.yaml (mode 0640, group repave-agent)."
  value       = openstack_identity_application_credential_v3.agent.secret
  sensitive   = true
}
