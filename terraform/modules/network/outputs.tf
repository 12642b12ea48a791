output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Where nodes, database and cache stand."
  value       = aws_subnet.private[*].id
}

output "cidr" {
  description = "The network's addresses."
  value       = aws_vpc.this.cidr_block
}
