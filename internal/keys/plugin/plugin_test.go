package plugin_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin"
	"github.com/sigbox/sigbox/internal/keys/plugin/plugintest"
)

func programs(t *testing.T, f plugintest.Files) *plugin.Programs {
	t.Helper()
	p := plugin.New(plugin.Config{Path: f.Path, Env: append(os.Environ(), "KMS_TOKEN=hunter22", "HIDDEN=1"), Hide: []string{"HIDDEN"}})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func key(t *testing.T, f plugintest.Files, name string) keys.Source {
	t.Helper()
	k, err := programs(t, f).Key("files", filepath.Join(f.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// soon is a context for calls that are to be ended; others are given longer.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestPlugin(t *testing.T) {
	f := plugintest.New(t)
	for _, details := range []sigbox.KeyDetails{sigbox.ECDSAP256SHA256, sigbox.Ed25519, sigbox.RSAPKCS1v15With2048} {
		k := key(t, f, details.String())
		_, err := k.Public(t.Context())
		expectKind(t, err, sigbox.NotFound, "the plugin sigstore-kms-files says: open")
		if err := k.Create(t.Context(), details); err != nil {
			t.Fatal(err)
		}
		list, err := k.Public(t.Context())
		if err != nil || len(list) != 1 || details.CheckKey(list[0]) != nil {
			t.Fatalf("%v, %v", list, err)
		}
		message, input := []byte("hello"), []byte("hello")
		if h := details.Hash(); h.Valid() {
			input = h.Sum(message).Value
		}
		sig, err := k.Sign(t.Context(), list[0], input, details.SignerOpts().HashFunc())
		if err != nil {
			t.Fatal(err)
		}
		if err := details.VerifyMessage(list[0], message, sig); err != nil {
			t.Error(err)
		}
	}
	k := key(t, f, "other")
	expectKind(t, k.Create(t.Context(), sigbox.ECDSAP384SHA384), sigbox.Invalid, "it makes ECDSA-P256, ED25519, RSA_2048")
}

// TestPluginFaults: what a plugin does wrong costs bounded time and room, and is told
// without secrets.
func TestPluginFaults(t *testing.T) {
	f := plugintest.New(t)
	k := key(t, f, "ca")
	if err := k.Create(t.Context(), sigbox.ECDSAP256SHA256); err != nil {
		t.Fatal(err)
	}
	list, err := k.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("hello"))
	for fault, want := range map[string]struct {
		kind sigbox.Kind
		text string
	}{
		plugintest.Away:     {sigbox.Unavailable, "says: the service cannot be reached"},
		plugintest.Hang:     {sigbox.Unavailable, "deadline exceeded"},
		plugintest.Orphan:   {sigbox.Unavailable, "was ended"},
		plugintest.Endless:  {sigbox.TooLarge, "writes more than 65536 bytes"},
		plugintest.Nonsense: {sigbox.Invalid, "the plugin's answer"},
		plugintest.Crash:    {sigbox.Unavailable, "exit status 3), saying: the library has crashed [31m"},
		plugintest.Secret:   {sigbox.Unavailable, "403 for token ***"},
	} {
		f.Break(t, fault)
		ctx := t.Context()
		if fault == plugintest.Hang || fault == plugintest.Orphan {
			ctx = soon(t)
		}
		sig, err := k.Sign(ctx, list[0], digest[:], crypto.SHA256)
		if sig != nil {
			t.Errorf("%s: it has signed", fault)
		}
		expectKind(t, err, want.kind, want.text)
		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: it tells a secret: %v", fault, err)
		}
	}
	// The exit status is no part of the protocol.
	f.Break(t, plugintest.Late)
	if _, err := k.Sign(t.Context(), list[0], digest[:], crypto.SHA256); err != nil {
		t.Error(err)
	}
}

// TestPluginsAreFoundByName: in absolute directories of the path, and nowhere else.
func TestPluginsAreFoundByName(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, mode := range map[string]os.FileMode{
		"sigstore-kms-a": 0o755, "bin/sigstore-kms-b": 0o755, "bin/sigstore-kms-c": 0o644, "bin/sigstore-kms-d": 0o757, "bin/sub/sigstore-kms-e": 0o755,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	p := plugin.New(plugin.Config{Path: strings.Join([]string{"", ".", "bin", filepath.Join(dir, "bin")}, string(os.PathListSeparator))})
	if _, err := p.Key("b", "x"); err != nil {
		t.Error(err)
	}
	for scheme, kind := range map[string]sigbox.Kind{"a": sigbox.NotFound, "c": sigbox.NotFound, "d": sigbox.Denied, "e": sigbox.NotFound} {
		_, err := p.Key(scheme, "x")
		expectKind(t, err, kind, "sigstore-kms-"+scheme)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin", "sigstore-kms-f"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := p.Key("f", "x")
	expectKind(t, err, sigbox.NotFound, "sigstore-kms-f")
}

// script writes a program of a shell's into a directory.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPluginEnvironment: a plugin has the server's environment, but the passphrase.
func TestPluginEnvironment(t *testing.T) {
	dir := script(t, "sigstore-kms-env", `echo "{\"errorMessage\":\"$1 ${SHOWN} ${HIDDEN:-nothing}\"}"`)
	p := plugin.New(plugin.Config{Path: dir, Env: []string{"PATH=/bin:/usr/bin", "SHOWN=this", "HIDDEN=that"}, Hide: []string{"HIDDEN"}})
	k, err := p.Key("env", "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Sign(t.Context(), nil, nil, 0)
	expectKind(t, err, sigbox.Unavailable, "says: v1 this nothing")
}

func TestPluginBadAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		`{}`:                                    "without",
		`{"signMessage":null}`:                  "without",
		`{"signMessage":{}}`:                    "without",
		`{"signMessage":{"signature":""}}`:      "without",
		`{"signMessage":{"signature":"%%"}}`:    "the plugin's answer",
		`{"signMessage":{"signature":"AA=="}}x`: "the plugin's answer",
		`{"signMessage":1}`:                     "the plugin's answer",
		`{"signMessage":{},"signMessage":{}}`:   "the plugin's answer",
		`{"publicKey":{"publicKeyPEM":"AAAA"}}`: "",
		`[]`:                                    "the plugin's answer",
		``:                                      "the plugin's answer",
		`{"errorMessage":["a"]}`:                "the plugin's answer",
	} {
		k, err := plugin.New(plugin.Config{Path: script(t, "sigstore-kms-a", "cat <<'E'\n"+answer+"\nE\n")}).Key("a", "x")
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.Sign(t.Context(), nil, []byte("hello"), 0)
		expectKind(t, err, sigbox.Invalid, want)
		_, err = k.Public(t.Context())
		expectKind(t, err, sigbox.Invalid, "")
	}
}

const tokenURI = "token=a;object=b?module-path=/a&pin-source=env:PIN"

// token is a key of a program that answers many calls, by a script that is given lines.
func token(t *testing.T, text string) (keys.Source, *plugin.Programs) {
	t.Helper()
	p := plugin.New(plugin.Config{Path: script(t, "sigstore-kms-pkcs11", text), Env: []string{"PATH=" + os.Getenv("PATH")}})
	k, err := p.Token(tokenURI)
	if err != nil {
		t.Fatal(err)
	}
	return k, p
}

// TestSession: many calls are asked of one run, at the same time and in any order, and
// of a new one when that has ended.
func TestSession(t *testing.T) {
	// It takes two lines, and answers the second before the first, with the number of
	// the run; then it ends.
	count := filepath.Join(t.TempDir(), "runs")
	k, p := token(t, `
echo x >>`+count+`
n=$(wc -l <`+count+`)
sig=$(printf 'run %d' $n | base64)
while read -r a && read -r b; do
	for line in "$b" "$a"; do
		id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
		echo '{"id":'$id',"answer":{"signMessage":{"signature":"'$sig'"}}}'
	done
	[ $n -gt 1 ] || exit 0
done
`)
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, want := range []string{"run 1", "run 2", "run 2"} {
		answers := make(chan string)
		for range 2 {
			go func() {
				for {
					sig, err := k.Sign(t.Context(), nil, []byte("hello"), 0)
					// The first run ends behind its answers: who asks it then is told
					// so, and asks again.
					if err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
						answers <- string(sig)
						return
					}
				}
			}()
		}
		for range 2 {
			if got := <-answers; got != want {
				t.Errorf("expected the answer of %s, found %q", want, got)
			}
		}
	}
}

func TestSessionFaults(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"nothing":         {"exit 0", "has ended"},
		"a crash":         {"echo 'the library has crashed' >&2; exit 3", "saying: the library has crashed"},
		"silence":         {"exec sleep 3600", "does not answer"},
		"deafness":        {"exec sleep 3600 <&-", "sigstore-kms-pkcs11"},
		"no JSON":         {"read -r a; echo hello; exec sleep 3600", "the plugin's line"},
		"another number":  {`read -r a; echo '{"id":7,"answer":{}}'; exec sleep 3600`, "what was not asked"},
		"another member":  {`read -r a; echo '{"id":1,"answer":{},"x":1}'; exec sleep 3600`, "the plugin's line"},
		"a long line":     {"read -r a; exec yes aaaaaaaaaa | tr -d '\\n'", "too long"},
		"an empty answer": {`read -r a; echo '{"id":1,"answer":{}}'; exec sleep 3600`, "without a signature"},
		"a refusal":       {`read -r a; echo '{"id":1,"answer":{"errorMessage":"no"}}'; exec sleep 3600`, "says: no"},
	} {
		t.Run(name, func(t *testing.T) {
			k, p := token(t, c.script)
			ctx := t.Context()
			if name == "silence" || name == "deafness" {
				ctx = soon(t)
			}
			sig, err := k.Sign(ctx, nil, []byte("hello"), 0)
			if err == nil || sig != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("expected an error with %q, found %x, %v", c.want, sig, err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		`{"errorMessage":"a"}`, `{"signMessage":{"signature":"AAAA"}}`, `{"publicKey":{"publicKeyPEM":"AAAA"},"x":[{}]}`,
		`{"supportedAlgorithms":{"supportedAlgorithms":["a"]}}`, `{"id":1,"answer":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, err := range []error{
			func() error { _, err := plugin.ParseAnswer(b); return err }(),
			func() error { _, err := plugin.ParseLineAnswer(b); return err }(),
			func() error { _, err := plugin.ParseCall(b); return err }(),
		} {
			if err != nil && sigbox.KindOf(err) != sigbox.Invalid && sigbox.KindOf(err) != sigbox.TooLarge {
				t.Error(err)
			}
		}
	})
}

func expectKind(t *testing.T, err error, kind sigbox.Kind, text string) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("expected an error of kind %q with %q, found %v", kind, text, err)
	}
}
