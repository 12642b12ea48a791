output "name" {
  description = "For `aws eks update-kubeconfig --name`."
  value       = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "What nodes and pods belong to: the database, the cache and the file system let it in."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "role_arns" {
  description = "For the annotations of the overlay's service accounts."
  value       = { for name, role in aws_iam_role.account : name => role.arn }
}
