# The CDN, off unless asked for: it keeps what the service says may be kept (style sheets, scripts, covers), and passes on
# the rest. With it, FORWARDED_ALLOW_IPS must name CloudFront's origin-facing ranges too, or every reader is one.
resource "aws_cloudfront_distribution" "this" {
  count           = var.cdn == null ? 0 : 1
  enabled         = true
  is_ipv6_enabled = true
  comment         = var.name
  aliases         = [var.cdn.host]
  http_version    = "http2and3"
  price_class     = "PriceClass_100"

  origin {
    origin_id   = "gateway"
    domain_name = var.cdn.origin
    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  # CachingDisabled and AllViewer: everything else goes through as it is.
  default_cache_behavior {
    target_origin_id         = "gateway"
    viewer_protocol_policy   = "redirect-to-https"
    allowed_methods          = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods           = ["GET", "HEAD"]
    cache_policy_id          = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    origin_request_policy_id = "216adef6-5c7f-47e4-b989-5492eafa07d3"
  }

  # UseOriginCacheControlHeaders: what says private or no-store is not kept for a moment.
  dynamic "ordered_cache_behavior" {
    for_each = ["/static/*", "/api/v1/uploads/*"]
    content {
      path_pattern             = ordered_cache_behavior.value
      target_origin_id         = "gateway"
      viewer_protocol_policy   = "redirect-to-https"
      allowed_methods          = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
      cached_methods           = ["GET", "HEAD"]
      compress                 = false # the service compresses itself, and its tags say so
      cache_policy_id          = "83da9c7e-98b4-4e11-a168-04f0df8e2c65"
      origin_request_policy_id = "216adef6-5c7f-47e4-b989-5492eafa07d3"
    }
  }

  logging_config {
    bucket = aws_s3_bucket.this["logs"].bucket_domain_name
    prefix = "cdn/"
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = var.cdn.certificate_arn
    ssl_support_method       = "sni-only"
    minimum_protocol_version = "TLSv1.2_2021"
  }
}
