# A machine for an agent whose hosts are instances of the account: its role may do what deploy/aws/policy.json lists, and
# nothing else.

data "aws_subnet" "agent" {
  id = var.subnet_id
}

resource "aws_security_group" "agent" {
  name        = "repave-agent-${var.region}"
  description = "Agent of repave in ${var.region}"
  vpc_id      = data.aws_subnet.agent.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.agent.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "packages" {
  for_each          = toset(var.server_cidrs)
  security_group_id = aws_security_group.agent.id
  ip_protocol       = "tcp"
  from_port         = 7480
  to_port           = 7480
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_ingress_rule" "traffic" {
  for_each          = local.ingress
  security_group_id = aws_security_group.agent.id
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value[1])
  to_port           = tonumber(each.value[1])
  cidr_ipv4         = each.value[0]
}

data "aws_iam_policy_document" "machine" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "agent" {
  name_prefix        = "repave-agent-"
  assume_role_policy = data.aws_iam_policy_document.machine.json
}

resource "aws_iam_role_policy" "agent" {
  name_prefix = "repave-agent-"
  role        = aws_iam_role.agent.id
  policy      = file("${path.module}/../../aws/policy.json")
}

resource "aws_iam_instance_profile" "agent" {
  name_prefix = "repave-agent-"
  role        = aws_iam_role.agent.name
}

resource "aws_instance" "agent" {
  ami                         = var.ami_id
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.agent.id]
  iam_instance_profile        = aws_iam_instance_profile.agent.name
  associate_public_ip_address = false
  user_data                   = local.user_data

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted             = true
    volume_size           = var.volume_gib
    delete_on_termination = false
  }

  tags = { Name = "repave-agent-${var.region}" }

  lifecycle {
    ignore_changes = [user_data, ami]
  }
}
