package config

// contentParams: what cleanup looks at in the content (header_checks(5)), and filters.
var contentParams = []Param{
	list("header_checks", "", "Tables that look at each header field."),
	list("mime_header_checks", "$header_checks", "Tables that look at the MIME fields of a message and its parts."),
	list("nested_header_checks", "$header_checks", "Tables that look at header fields of messages in the message."),
	list("body_checks", "", "Tables that look at each line of the body."),
	number("body_checks_size_limit", "51200", 0, 0, "Bytes of each part of a body that body_checks look at."),
	yesno("disable_mime_input_processing", "no", "Do not tell the parts of a message apart for these tables."),
	number("mime_boundary_length_limit", "2048", 1, 1<<16, "Bytes of a MIME boundary that count."),
	number("mime_nesting_limit", "100", 1, 1000, "How deep MIME parts in parts are told apart."),
	str("content_filter", "", "transport:nexthop by which all mail goes before it is delivered (FILTER_README)."),
}
