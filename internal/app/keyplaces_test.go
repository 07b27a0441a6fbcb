package app

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/keys"
)

func TestKeyPlaces(t *testing.T) {
	places, err := KeyPlaces{"default": "hashivault://a-{key}", "oidc": "file", "ca": "awskms:///b"}.parse()
	if err != nil {
		t.Fatal(err)
	}
	if len(places) != len(keyKinds()) || places["tsa-root"] != (keys.Place{Scheme: "hashivault", Key: "a-tsa-root"}) || places["ca"] != (keys.Place{Scheme: "awskms", Key: "/b"}) {
		t.Errorf("found %v", places)
	}
	for _, none := range []KeyPlaces{nil, {}, {"default": "file"}, {"ca": "", "tsa": "file"}} {
		if places, err := none.parse(); err != nil || len(places) != 0 {
			t.Errorf("%v: found %v, %v", none, places, err)
		}
	}
	for want, p := range map[string]KeyPlaces{
		`no key "fulcio"`:                  {"fulcio": "file"},
		"ca and ca-root are in the same":   {"default": "hashivault://a"},
		"ca and tsa are in the same place": {"ca": "a://b", "tsa": "a://b"},
		"keys: tsa: the place of a key":    {"tsa": "/etc/tsa.pem"},
		"keys: ca: the place of a key":     {"default": "{key}"},
	} {
		if _, err := p.parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: expected %q, found %v", p, want, err)
		}
	}
}
