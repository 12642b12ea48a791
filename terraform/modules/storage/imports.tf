# For the claim `imports` of k8s/: many pods, one file system.
resource "aws_efs_file_system" "imports" {
  creation_token = "${var.name}-imports"
  encrypted      = true
  kms_key_id     = aws_kms_key.imports.arn
  lifecycle_policy {
    transition_to_ia = "AFTER_30_DAYS"
  }
  tags = { Name = "${var.name}-imports" }
}

resource "aws_kms_key" "imports" {
  description             = "${var.name}: uploaded catalogue files"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

data "aws_caller_identity" "me" {}

data "aws_iam_policy_document" "key" {
  statement {
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.me.account_id}:root"]
    }
  }
}

resource "aws_security_group" "imports" {
  name        = "${var.name}-imports"
  description = "NFS, for the cluster's nodes alone"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "imports" {
  security_group_id = aws_security_group.imports.id
  cidr_ipv4         = var.cidr
  description       = "from the network's nodes"
  ip_protocol       = "tcp"
  from_port         = 2049
  to_port           = 2049
}

resource "aws_efs_mount_target" "imports" {
  count           = length(var.subnet_ids)
  file_system_id  = aws_efs_file_system.imports.id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.imports.id]
}
