# A machine for an agent. repave has no provider for Google Cloud yet: the agent's hosts are processes on it (local), or
# machines that it reaches by SSH (ssh_pool). So its service account has no role.

resource "google_service_account" "agent" {
  account_id   = substr("repave-agent-${var.region}", 0, 30)
  display_name = "Agent of repave in ${var.region}"
}

data "google_compute_subnetwork" "agent" {
  self_link = var.subnetwork
}

resource "google_compute_firewall" "traffic" {
  count         = length(local.ingress) > 0 ? 1 : 0
  name          = "repave-agent-${var.region}"
  network       = data.google_compute_subnetwork.agent.network
  direction     = "INGRESS"
  source_ranges = var.client_cidrs

  allow {
    protocol = "tcp"
    ports    = [for port in var.traffic_ports : tostring(port)]
  }

  target_service_accounts = [google_service_account.agent.email]
}

resource "google_compute_instance" "agent" {
  name         = "repave-agent-${var.region}"
  zone         = var.zone
  machine_type = var.machine_type

  boot_disk {
    auto_delete = false
    initialize_params {
      image = var.image
      size  = var.volume_gib
    }
  }

  network_interface {
    subnetwork = var.subnetwork
  }

  # Without scopes it can't even ask for a token.
  service_account {
    email  = google_service_account.agent.email
    scopes = []
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    user-data              = local.user_data
    block-project-ssh-keys = "true"
    enable-oslogin         = "true"
  }

  lifecycle {
    ignore_changes = [metadata["user-data"], boot_disk]
  }
}
