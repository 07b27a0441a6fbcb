package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin"
)

// module is SoftHSM's library, where Debian has it.
const module = "/usr/lib/softhsm/libsofthsm2.so"

// softHSM makes a token of the test's and gives the beginning of its keys' URIs.
func softHSM(t *testing.T) func(object string) string {
	t.Helper()
	if _, err := os.Stat(module); err != nil {
		t.Fatalf("%v\nSoftHSM is not installed: make interop does that.", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "softhsm2.conf"), "directories.tokendir = "+dir+"\n")
	write(t, filepath.Join(dir, "pin"), "1234\n")
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "sig box", "--pin", "1234", "--so-pin", "5678").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(object string) string {
		return "token=sig%20box;object=" + object + "?module-path=" + module + "&pin-source=file:" + filepath.Join(dir, "pin")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// programs are the plugins in a directory that has this program, built.
func programs(t *testing.T) *plugin.Programs {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "sigstore-kms-pkcs11"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Symlink("sigstore-kms-pkcs11", filepath.Join(dir, "sigstore-kms-once")); err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.Config{Path: dir})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestKeys: keys of each kind are made on a token and sign, in a run for each call and in
// one for many at a time.
func TestKeys(t *testing.T) {
	uri, p := softHSM(t), programs(t)
	for _, details := range []sigbox.KeyDetails{sigbox.ECDSAP256SHA256, sigbox.Ed25519, sigbox.RSAPKCS1v15With2048} {
		once, err := p.Key("once", uri(details.String()))
		if err != nil {
			t.Fatal(err)
		}
		many, err := p.Token(uri(details.String()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := once.Public(t.Context()); err == nil || sigbox.KindOf(err) != sigbox.NotFound || !strings.Contains(err.Error(), "no such key") {
			t.Fatalf("found %v", err)
		}
		for range 2 { // one that is there stays as it is
			if err := once.Create(t.Context(), details); err != nil {
				t.Fatal(err)
			}
		}
		list, err := many.Public(t.Context())
		if err != nil || details.CheckKey(list[0]) != nil {
			t.Fatalf("%v, %v", list, err)
		}
		var wg sync.WaitGroup
		for i := range 40 {
			k := many
			if i == 0 {
				k = once
			}
			wg.Go(func() {
				message := fmt.Appendf(nil, "message %d", i)
				input := message
				if h := details.Hash(); h.Valid() {
					input = h.Sum(message).Value
				}
				sig, err := k.Sign(t.Context(), list[0], input, details.SignerOpts().HashFunc())
				if err == nil {
					err = details.VerifyMessage(list[0], message, sig)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// TestMovedKey: a key of an instance is brought to a token and is the same there.
func TestMovedKey(t *testing.T) {
	uri := softHSM(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	key, err := keys.LoadOrCreate(file, sigbox.ECDSAP256SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("softhsm2-util", "--import", file, "--token", "sig box", "--label", "ca", "--id", "01", "--pin", "1234").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newServer()
	defer s.close()
	for _, name := range []string{"ca", "ca;id=%01"} {
		a, err := s.answer(call(uri(name), plugin.MethodPublic), nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := inPEM(key.Public())
		if err != nil || !bytes.Equal(a.Public.PEM, want.PEM) {
			t.Errorf("%s: found another key (%v)", name, err)
		}
	}
	if _, err := s.answer(call(uri("ca;id=%02"), plugin.MethodPublic), nil); !errors.Is(err, errNoKey) {
		t.Errorf("found %v", err)
	}
}

func call(uri, method string) plugin.Call {
	return plugin.Call{Init: plugin.Init{Version: plugin.Version, Key: uri, Hash: uint(crypto.SHA256)}, Method: method}
}

// TestRefusals: what is not there or not meant is told apart, and a wrong PIN is tried
// once.
func TestRefusals(t *testing.T) {
	uri := softHSM(t)
	good := uri("a")
	pin := good[strings.Index(good, "file:")+len("file:"):]
	s := newServer()
	defer s.close()
	write(t, pin, "4321\n")
	for range 20 { // a token counts
		if _, err := s.answer(call(good, plugin.MethodPublic), nil); !errors.Is(err, errWrongPIN) {
			t.Fatalf("found %v", err)
		}
	}
	write(t, pin, "1234\n")
	if _, err := s.answer(call(good, plugin.MethodPublic), nil); !errors.Is(err, errNoKey) {
		t.Errorf("found %v", err)
	}
	create := call(good, plugin.MethodCreate)
	create.Create = &plugin.CreateCall{Algorithm: "ecdsa-p256"}
	if _, err := s.answer(create, nil); err != nil {
		t.Fatal(err)
	}
	sign := func(digest []byte, hash uint) plugin.Call {
		c := call(good, plugin.MethodSign)
		c.Sign = &plugin.SignCall{Options: plugin.SignOptions{Message: plugin.MessageOptions{Digest: digest, Hash: hash}}}
		return c
	}
	other := create
	other.Create = &plugin.CreateCall{Algorithm: "rot13"}
	for want, c := range map[string]plugin.Call{
		"a digest of 32 bytes":   sign(make([]byte, 31), 5),
		"a hash of SHA-256":      sign(make([]byte, 16), 2),
		"not one that is under":  call(good, "exportKey"),
		"\"signMessage\" is not": call(good, plugin.MethodSign),
		"\"rot13\" are not made": other,
		"is not there":           call(strings.Replace(good, "sig%20box", "other", 1), plugin.MethodPublic),
		"cannot be loaded":       call(strings.Replace(good, module, pin, 1), plugin.MethodPublic),
		"expected token=LABEL":   call("object=a?module-path=/a&pin-source=env:PIN", plugin.MethodPublic),
	} {
		if _, err := s.answer(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
	verify := call(good, plugin.MethodVerify)
	verify.Verify = &plugin.VerifyCall{}
	for _, message := range []string{"hello", "other"} {
		a, err := s.answer(sign(nil, 0), []byte(message))
		if err != nil {
			t.Fatal(err)
		}
		verify.Verify.Signature = a.Sign.Signature
		if _, err := s.answer(verify, []byte("hello")); (err == nil) != (message == "hello") {
			t.Errorf("%s: found %v", message, err)
		}
	}
}

// TestServe: lines are answered, and what is no line, or an end, ends it.
func TestServe(t *testing.T) {
	in, lines := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(newServer(), in, out) }()
	go func() {
		_, _ = io.WriteString(lines, `{"id":7,"call":{"methodName":"supportedAlgorithms"}}`+"\n"+`{"id":8,"call":{"methodName":"publicKey"}}`+"\n")
	}()
	var found []string
	scan := bufio.NewScanner(answers)
	for len(found) < 2 && scan.Scan() {
		found = append(found, scan.Text())
	}
	text := strings.Join(found, "\n")
	if !strings.Contains(text, `{"id":7,"answer":{"supportedAlgorithms":`) || !strings.Contains(text, `{"id":8,"answer":{"errorMessage":`) {
		t.Errorf("found %s", text)
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("its input has ended, and it says %v", err)
	}
	if err := serve(newServer(), strings.NewReader("hello\n"), io.Discard); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}
