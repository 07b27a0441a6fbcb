package bundle_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
)

// Where other verifiers refuse and there is nothing to be said for a second
// reading, it is refused here too.
func TestOneReading(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	message := w.Sign([]byte("artifact"), sigboxtest.Options{})
	for name, c := range map[string]struct {
		change func(b *sigbox.Bundle)
		want   string
	}{
		"an entry twice":     {func(b *sigbox.Bundle) { b.Entries = append(b.Entries, b.Entries[0]) }, "log entries 0 and 1 are the same one"},
		"a timestamp twice":  {func(b *sigbox.Bundle) { b.Timestamps = append(b.Timestamps, b.Timestamps[0]) }, "timestamps 0 and 1 are the same one"},
		"an entry, changed":  {func(b *sigbox.Bundle) { b.Entries = append(b.Entries, b.Entries[0]); b.Entries[1].Body = nil }, "the same one"},
		"evidence once each": {func(*sigbox.Bundle) {}, ""},
	} {
		b := *message
		c.change(&b)
		if err := bundle.Check(&b); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
	if err := bundle.Check(w.Sign([]byte("artifact"), sigboxtest.Options{Twice: true})); err != nil {
		t.Errorf("two entries of a log: %v", err)
	}

	replace := func(b *sigbox.Bundle, from, to string) []byte {
		file := string(sigboxtest.File(b))
		if !strings.Contains(file, from) {
			t.Fatalf("no %q in %s", from, file)
		}
		return []byte(strings.Replace(file, from, to, 1))
	}
	attested := w.Attest(sigboxtest.Statement("https://example.com/p", []byte("artifact")), sigboxtest.Options{})
	bare := *message
	bare.Message = &sigbox.MessageSignature{Signature: message.Message.Signature}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"payload_type, which DSSE does not know":   {replace(attested, `"payloadType"`, `"payload_type"`), "/dsseEnvelope/payload_type: unknown member"},
		"the same with an escape":                  {replace(attested, `"payloadType"`, `"payload\u005ftype"`), "unknown member"},
		"payloadType with an escape":               {replace(attested, `"payloadType"`, `"payload\u0054ype"`), ""},
		"a digest without algorithm and value":     {replace(&bare, `"messageSignature":{`, `"messageSignature":{"messageDigest":{},`), "expected an algorithm and a digest"},
		"no digest, which is optional":             {sigboxtest.File(&bare), ""},
		"media_type, as the .proto has it":         {replace(message, `"mediaType"`, `"media_type"`), ""},
		"a digest that is null, as good as absent": {replace(&bare, `"messageSignature":{`, `"messageSignature":{"messageDigest":null,`), ""},
	} {
		if _, err := bundle.Parse(c.file); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}
