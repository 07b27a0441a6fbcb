package bundle

import (
	"bytes"
	"testing"

	"github.com/sigbox/sigbox"
)

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	v, err := ParseEnvelope([]byte(`{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"k","sig":"c2ln"}]}`))
	if err != nil || v.PayloadType != "t" || string(v.Payload) != "{}" || len(v.Signatures) != 1 || v.Signatures[0].KeyID != "k" || string(v.Signatures[0].Signature) != "sig" {
		t.Errorf("%+v, %v", v, err)
	}
	for name, in := range map[string]string{
		"nothing": "", "a list": "[]", "a member more": `{"x":1}`, "a member twice": `{"payload":"","payload":""}`, "two": "{}{}",
		"two signatures": `{"signatures":[{},{}]}`,
	} {
		if v, err := ParseEnvelope([]byte(in)); err == nil || v != nil {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if _, err := ParseEnvelope(bytes.Repeat([]byte{' '}, MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected it to be too large", err)
	}
}

func TestAppendEnvelope(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"payload":"e30=","payloadType":"t","signatures":[{"sig":"c2ln","keyid":"k"}]}`,
		`{"payload":"","payloadType":"a/b","signatures":[{"sig":"c2ln"}]}`,
	} {
		v, err := ParseEnvelope([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendEnvelope([]byte("before "), v); string(got) != "before "+text {
			t.Errorf("found %s, expected %s", got, text)
		}
	}
}
