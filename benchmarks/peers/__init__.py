"""What the service is measured against: the limit of the machine, and lists of books as others would serve them."""
