locals {
  user_data = templatefile("${path.module}/../cloud-init.yaml.tftpl", {
    settings   = var.settings
    packages   = var.packages
    haproxy    = var.haproxy
    join_url   = try(var.join.url, "")
    join_token = try(var.join.token, "")
  })
  ingress = { for pair in setproduct(var.client_cidrs, var.traffic_ports) : "${pair[0]}-${pair[1]}" => pair }
}
