output "address" {
  value = google_compute_instance.agent.network_interface[0].network_ip
}

output "service_account" {
  value = google_service_account.agent.email
}
