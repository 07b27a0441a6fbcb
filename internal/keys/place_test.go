package keys_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
)

const tokenURI = "token=sigbox;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin"

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]keys.Place{
		"":                                    {},
		"file":                                {},
		"hashivault://sigbox-ca":              {Scheme: "hashivault", Key: "sigbox-ca"},
		"openbao://a.b_c":                     {Scheme: "openbao", Key: "a.b_c"},
		"awskms:///alias/sigbox":              {Scheme: "awskms", Key: "/alias/sigbox"},
		"my-hsm2://any thing?at=all&really#1": {Scheme: "my-hsm2", Key: "any thing?at=all&really#1"},
		"pkcs11:" + tokenURI:                  {Scheme: "pkcs11", Key: tokenURI},
		"pkcs11://" + tokenURI:                {Scheme: "pkcs11", Key: tokenURI},
	} {
		if got, err := keys.ParsePlace(text); err != nil || got != want {
			t.Errorf("%s: expected %+v, found %+v (%v)", text, want, got, err)
		}
	}
	for _, text := range []string{
		"/etc/ca.pem", "file:///etc/ca.pem", "vault:ca", "hashivault://", "hashivault://a/b", "hashivault://../a", "hashivault://a?b", "://a",
		"../x://a", "a/b://c", "A://b", "1a://b", strings.Repeat("a", 33) + "://b", "a://", "a://b\nc", "a://b\x00", "pkcs11:", "pkcs11:token=a",
		"-----BEGIN PRIVATE KEY-----", "a.b://c",
	} {
		_, err := keys.ParsePlace(text)
		expectKind(t, err, sigbox.Invalid, "expected")
	}
	_, err := keys.ParsePlace("a://" + strings.Repeat("b", 4<<10))
	expectKind(t, err, sigbox.TooLarge, "at most")
}

// TestPlaceTellsNoSecrets: what is told of a place has no part in which one can stand.
func TestPlaceTellsNoSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"file":                     "file",
		"pkcs11:" + tokenURI:       "pkcs11:token=sigbox;object=ca",
		"azurekms://a/b?secret=c":  "azurekms://a/b",
		"hashivault://sigbox-ca-1": "hashivault://sigbox-ca-1",
	} {
		p, err := keys.ParsePlace(text)
		if err != nil || p.String() != want {
			t.Errorf("expected %q, found %q (%v)", want, p, err)
		}
	}
	for _, text := range []string{"hunter2", "pkcs11:token=a;object=b?module-path=/a&pin-value=hunter2", "pkcs11:hunter2=1", "pkcs11:token=a;token=hunter2"} {
		if _, err := keys.ParsePlace(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: found %v", text, err)
		}
	}
}

func TestParseToken(t *testing.T) {
	got, err := keys.ParseToken("token=My%20Token;serial=1;manufacturer=m;model=n;slot-id=17;object=a%3Bb;id=%01%ff;type=private?module-path=/a/b.so&pin-source=env:PIN")
	if err != nil {
		t.Fatal(err)
	}
	want := keys.Token{
		Label: "My Token", Serial: "1", Manufacturer: "m", Model: "n", Slot: "17", Object: "a;b", ID: []byte{1, 0xff},
		Module: "/a/b.so", PIN: "env:PIN",
	}
	if got.Same() != want.Same() || got.Object != want.Object || string(got.ID) != string(want.ID) || got.PIN != want.PIN {
		t.Errorf("expected %+v, found %+v", want, got)
	}
	other, err := keys.ParseToken(strings.Replace(tokenURI, "object=ca", "object=tsa", 1))
	if err != nil {
		t.Fatal(err)
	}
	if ca, _ := keys.ParseToken(tokenURI); ca.Same() != other.Same() || ca.Key() == other.Key() {
		t.Error("two keys of one token are told to be of two")
	}
	const rest = "?module-path=/a&pin-source=env:PIN"
	for text, want := range map[string]string{
		"":                                  "expected token",
		"token=a" + rest:                    "expected object",
		"object=a" + rest:                   "expected token",
		"token=a;object=b":                  "module-path",
		"token=a;object=b?pin-source=env:P": "module-path",
		"token=a;object=b?module-path=a.so&pin-source=env:P":         "absolute",
		"token=a;object=b?module-path=/a/../b&pin-source=env:P":      "absolute",
		"token=a;object=b?module-path=/a":                            "pin-source",
		"token=a;object=b?module-path=/a&pin-source=|cat":            "passphrase source",
		"token=a;object=b?module-path=/a&pin-source=1234":            "passphrase source",
		"token=a;object=b?module-path=/a&pin-value=1234":             "does not stand in a URI",
		"token=a;object=b;token=c" + rest:                            "twice",
		"token=a;;object=b" + rest:                                   "without a value",
		"token=a;object=%zz" + rest:                                  "percent-encoded",
		"token=a;object=b%00c" + rest:                                "percent-encoded",
		"token=a;object=b;slot-id=1x" + rest:                         "expected a number",
		"token=a;object=b;slot-id=" + strings.Repeat("1", 40) + rest: "expected a number",
		"token=a;object=b;type=cert" + rest:                          "not understood",
		"token=a;object=b;x-vendor=1" + rest:                         "not understood",
		"token=a;object=b;module-path=/a" + rest:                     "not understood",
		"token=a;object=b?module-name=a&pin-source=env:P":            "not understood",
	} {
		_, err := keys.ParseToken(text)
		expectKind(t, err, sigbox.Invalid, want)
	}
}

// FuzzParsePlace: what is taken names itself without its query, and takes no secret
// into its name.
func FuzzParsePlace(f *testing.F) {
	for _, s := range []string{"", "file", "hashivault://a", "pkcs11:" + tokenURI, "a://b?c", "pkcs11:id=%00;token=%25?module-path=/&pin-source=file:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := keys.ParsePlace(s)
		if err != nil {
			return
		}
		if p.IsFile() != (s == "" || s == "file") {
			t.Errorf("%q is %+v", s, p)
		}
		if name := p.String(); strings.ContainsRune(name, '?') || strings.ContainsAny(p.Scheme, "/.\\ \x00") {
			t.Errorf("%q is called %q", s, name)
		}
		if p.Scheme == keys.SchemePKCS11 {
			token, err := keys.ParseToken(p.Key)
			if err != nil || token.PIN == "" || strings.Contains(p.String(), "pin-") && !strings.Contains(token.Object+token.Label+token.Serial+token.Model+token.Manufacturer+string(token.ID), "pin-") {
				t.Errorf("%q: %+v, %v", s, token, err)
			}
		}
	})
}

func TestSaid(t *testing.T) {
	secrets := keys.SecretsOf([]string{"HOME=/root", "AWS_SECRET_ACCESS_KEY=hunter2", "VAULT_TOKEN=s.abcdef", "X_PIN=12", "EMPTY_TOKEN="})
	for text, want := range map[string]string{
		"":                              "",
		"a\n\tb  c":                     "a b c",
		"\x1b[31mred\x07\xff":           "[31mred",
		"403 for s.abcdef by hunter2!":  "403 for *** by ***!",
		"12 at /root":                   "12 at /root",
		strings.Repeat("a", 400):        strings.Repeat("a", 300) + "…",
		"  " + strings.Repeat("é", 200): strings.Repeat("é", 149) + "…",
	} {
		if got := keys.Said(text, secrets); got != want {
			t.Errorf("%q: expected %q, found %q", text, want, got)
		}
	}
}
