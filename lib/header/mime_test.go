package header

import "testing"

func TestContentType(t *testing.T) {
	for in, want := range map[string][2]string{
		"text/plain":                                          {"text/plain", ""},
		"Text/Plain (a comment); charset=utf-8":               {"text/plain", ""},
		"multipart/mixed; boundary=x":                         {"multipart/mixed", "x"},
		"multipart/mixed; foo; BOUNDARY = x (c); a=b":         {"multipart/mixed", "x"},
		`multipart/mixed; a="boundary=y;"; boundary="x;\" z"`: {"multipart/mixed", `x;" z`},
		`multipart/mixed; boundary="x`:                        {"multipart/mixed", "x"},
		"multipart/mixed;":                                    {"multipart/mixed", ""},
		"":                                                    {"", ""},
	} {
		if media, boundary := ContentType(in); media != want[0] || boundary != want[1] {
			t.Errorf("%s: %q, %q, not %q", in, media, boundary, want)
		}
	}
}
