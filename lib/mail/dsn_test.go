package mail

import "testing"

// What Debian's Postfix 3.7 takes and refuses.
func TestParameters(t *testing.T) {
	for s, want := range map[string]Notify{"NEVER": NotifyNever, "success,DELAY": NotifySuccess | NotifyDelay, "SUCCESS,,FAILURE": NotifySuccess | NotifyFailure,
		"SUCCESS,SUCCESS": NotifySuccess, "": 0, "NEVER,DELAY": 0, "bad": 0, ",": 0} {
		n, ok := ParseNotify(s)
		if ok != (want != 0) || ok && n != want {
			t.Errorf("NOTIFY=%s: %v, %v", s, n, ok)
		}
		if ok {
			if again, ok := ParseNotify(n.String()); !ok || again != n {
				t.Errorf("%s became %s", s, n)
			}
		}
	}
	for s, want := range map[string]bool{"rfc822;o+2Br@c.test": true, "rfc822;": true, "x400;a": true, "foo": false, ";a": false, "rfc822;a+zz": false, "rfc822;a+2": false} {
		if ParseORCPT(s) != want {
			t.Errorf("ORCPT=%s: %v", s, !want)
		}
	}
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"", "plain", "a+b=c d", "ü\n"} {
		if got, ok := Unxtext(string(AppendXtext(nil, s))); !ok || got != s {
			t.Errorf("%q became %q, %v", s, got, ok)
		}
	}
	if s, ok := Unxtext("a+2Bb+2"); ok || s != "a+b+2" {
		t.Errorf("%q, %v", s, ok)
	}
}
