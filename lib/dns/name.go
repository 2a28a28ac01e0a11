package dns

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Name brings a host or domain name into the form that is asked for: lower case,
// without a final dot, labels beyond ASCII in their A-label form (RFC 3492). ok is
// false for what is no host name: empty or over-long labels, blanks, control or
// other characters that no host name has.
func Name(s string) (name string, ok bool) {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 1000 {
		return "", false
	}
	if !lowerHost(s) {
		if !utf8.ValidString(s) {
			return "", false // ToLower would make something else of it
		}
		labels := strings.Split(strings.ToLower(s), ".")
		for i, l := range labels {
			if isASCII(l) {
				continue
			}
			labels[i] = "xn--" + punycode(l)
		}
		s = strings.Join(labels, ".")
		if !lowerHost(s) {
			return "", false
		}
	}
	if len(s) > 253 {
		return "", false
	}
	for n, i := 0, 0; i < len(s); i++ {
		if s[i] == '.' {
			if n == 0 {
				return "", false
			}
			n = 0
			continue
		}
		if n++; n > 63 {
			return "", false
		}
	}
	return s, s[len(s)-1] != '.'
}

func lowerHost(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// punycode encodes one label (RFC 3492, section 6.3).
func punycode(label string) string {
	const base, tmin, tmax, skew, damp = 36, 1, 26, 38, 700
	n, delta, bias := rune(128), 0, 72
	var out []byte
	runes := []rune(label)
	for _, r := range runes {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	h := basic
	if basic > 0 {
		out = append(out, '-')
	}
	for first := true; h < len(runes); {
		m := rune(math.MaxInt32)
		for _, r := range runes {
			if r >= n && r < m {
				m = r
			}
		}
		delta += int(m-n) * (h + 1)
		n = m
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := base; ; k += base {
				t := min(max(k-bias, tmin), tmax)
				if q < t {
					break
				}
				out = append(out, digit(t+(q-t)%(base-t)))
				q = (q - t) / (base - t)
			}
			out = append(out, digit(q))
			// adapt (RFC 3492, section 6.1)
			d := delta / 2
			if first {
				d, first = delta/damp, false
			}
			d += d / (h + 1)
			k := 0
			for ; d > (base-tmin)*tmax/2; k += base {
				d /= base - tmin
			}
			bias = k + (base-tmin+1)*d/(d+skew)
			delta = 0
			h++
		}
		delta++
		n++
	}
	return string(out)
}

func digit(n int) byte {
	if n < 26 {
		return byte('a' + n)
	}
	return byte('0' + n - 26)
}
