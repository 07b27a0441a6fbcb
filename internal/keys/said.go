package keys

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSaid bounds what of a text from outside is told again, in bytes.
const maxSaid = 300

// Said makes what a program or a server has said fit for a message of ours: one line
// of printable characters, cut off where it gets long, without the secrets.
func Said(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) >= 4 { // a shorter one would take words apart, and tell itself by that
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	var b strings.Builder
	for i, r := range text {
		if i >= maxSaid {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// SecretsOf gives the values of an environment's variables that are secrets by their
// names.
func SecretsOf(env []string) (secrets []string) {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		name = strings.ToUpper(name)
		for _, word := range []string{"TOKEN", "SECRET", "PASS", "PIN", "KEY", "CREDENTIAL"} {
			if strings.Contains(name, word) {
				secrets = append(secrets, value)
				break
			}
		}
	}
	return secrets
}
