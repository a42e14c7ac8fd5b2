output "address" {
  value = aws_instance.agent.private_ip
}

output "role" {
  value = aws_iam_role.agent.arn
}
