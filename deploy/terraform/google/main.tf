# A machine for an agent whose hosts are instances of the project: its service account may do what deploy/gcp/role.yaml
# lists, and nothing else.

locals {
  role = yamldecode(file("${path.module}/../../gcp/role.yaml"))
}

resource "google_service_account" "agent" {
  account_id   = substr("repave-agent-${var.region}", 0, 30)
  display_name = "Agent of repave in ${var.region}"
}

resource "google_project_iam_custom_role" "agent" {
  role_id     = replace("repave.agent.${var.region}", "-", "_")
  title       = local.role.title
  description = local.role.description
  permissions = local.role.includedPermissions
}

resource "google_project_iam_member" "agent" {
  project = google_service_account.agent.project
  role    = google_project_iam_custom_role.agent.id
  member  = google_service_account.agent.member
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

resource "google_compute_firewall" "packages" {
  name          = "repave-agent-packages-${var.region}"
  network       = data.google_compute_subnetwork.agent.network
  direction     = "INGRESS"
  source_ranges = var.server_cidrs

  allow {
    protocol = "tcp"
    ports    = ["7480"]
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

  # The scope narrows nothing: the role does.
  service_account {
    email  = google_service_account.agent.email
    scopes = ["cloud-platform"]
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
