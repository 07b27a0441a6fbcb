package keys_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
)

var everyKind = []sigbox.KeyDetails{
	sigbox.ECDSAP256SHA256, sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512, sigbox.Ed25519, sigbox.RSAPKCS1v15With2048,
}

func secret(s string) keys.Passphrase {
	return func() ([]byte, error) { return []byte(s), nil }
}

func TestRoundTrip(t *testing.T) {
	for _, details := range everyKind {
		t.Run(details.String(), func(t *testing.T) {
			key := generate(t, details)
			file, err := keys.Marshal(key, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := keys.Parse(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			expectSame(t, key, got)
		})
	}
}

func TestEncrypted(t *testing.T) {
	key := generate(t, sigbox.ECDSAP256SHA256)
	file, err := keys.Marshal(key, secret("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(file); block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" {
		t.Fatalf("unexpected PEM:\n%s", file)
	}
	got, err := keys.Parse(file, secret("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	expectSame(t, key, got)

	cosign := bytes.ReplaceAll(file, []byte("SIGSTORE"), []byte("COSIGN"))
	if _, err := keys.Parse(cosign, secret("correct horse")); err != nil {
		t.Errorf("the older PEM type: %v", err)
	}
	_, err = keys.Parse(file, secret("battery staple"))
	expectKind(t, err, sigbox.Unauthenticated, "does not open")
	_, err = keys.Parse(file, nil)
	expectKind(t, err, sigbox.Unauthenticated, "no passphrase")
}

// Keys that cosign and openssl wrote; testdata/make.sh says how.
func TestKeysOfOthers(t *testing.T) {
	for _, name := range []string{
		"cosign.key", "cosign-old.key", "cosign-ec.key", "cosign-rsa.key", "cosign-ed25519.key",
		"openssl-ec.pem", "openssl-rsa.pem", "openssl-ed25519.pem",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := keys.Parse(read(t, name), secret("hunter2"))
			if err != nil {
				t.Fatal(err)
			}
			stem := strings.TrimSuffix(strings.TrimSuffix(name, ".key"), ".pem")
			pub := read(t, strings.NewReplacer("openssl", "cosign", "-old", "").Replace(stem)+".pub")
			block, _ := pem.Decode(pub)
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil || !bytes.Equal(der, block.Bytes) {
				t.Errorf("not the key of its public half (%v)", err)
			}
		})
	}
}

func TestHostileEnvelopes(t *testing.T) {
	valid := map[string]any{
		"kdf":        map[string]any{"name": "scrypt", "params": map[string]any{"N": 65536, "r": 8, "p": 1}, "salt": make([]byte, 32)},
		"cipher":     map[string]any{"name": "nacl/secretbox", "nonce": make([]byte, 24)},
		"ciphertext": make([]byte, 64),
	}
	kdf := func(n, r, p int) any {
		return map[string]any{"name": "scrypt", "params": map[string]any{"N": n, "r": r, "p": p}, "salt": make([]byte, 32)}
	}
	for name, c := range map[string]struct {
		field string
		value any
		want  string
	}{
		"N that takes a terabyte": {"kdf", kdf(1<<30, 8, 1), "scrypt parameters"},
		"N of one":                {"kdf", kdf(1, 8, 1), "scrypt parameters"},
		"large r":                 {"kdf", kdf(65536, 1<<20, 1), "scrypt parameters"},
		"large p":                 {"kdf", kdf(65536, 8, 1<<20), "scrypt parameters"},
		"another kdf":             {"kdf", map[string]any{"name": "none"}, "key derivation"},
		"another cipher":          {"cipher", map[string]any{"name": "rot13", "nonce": make([]byte, 24)}, "cipher"},
		"short nonce":             {"cipher", map[string]any{"name": "nacl/secretbox", "nonce": []byte{1}}, "nonce"},
		"empty ciphertext":        {"ciphertext", []byte{}, "cut off"},
		"unknown member":          {"surprise", 1, "unknown member"},
	} {
		t.Run(name, func(t *testing.T) {
			e := map[string]any{}
			for k, v := range valid {
				e[k] = v
			}
			e[c.field] = c.value
			body, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			file := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: body})
			_, err = keys.Parse(file, func() ([]byte, error) {
				t.Error("the passphrase was asked for")
				return nil, nil
			})
			expectKind(t, err, sigbox.Invalid, c.want)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	plain, err := keys.Marshal(generate(t, sigbox.Ed25519), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		kind sigbox.Kind
		want string
	}{
		"nothing":       {nil, sigbox.Invalid, "no PEM"},
		"text":          {[]byte("hello"), sigbox.Invalid, "no PEM"},
		"cut off":       {plain[:len(plain)/2], sigbox.Invalid, "no PEM"},
		"twice":         {append(bytes.Clone(plain), plain...), sigbox.Invalid, "more after it"},
		"another type":  {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"), sigbox.Invalid, "openssl pkcs8"},
		"a public key":  {read(t, "cosign.pub"), sigbox.Invalid, `found "PUBLIC KEY"`},
		"curve alone":   {[]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), sigbox.Invalid, "no PEM"},
		"not ECDSA":     {[]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"), sigbox.Invalid, "expected an ECDSA key"},
		"not RSA":       {[]byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"), sigbox.Invalid, "expected PKCS #1"},
		"encrypted RSA": {read(t, "openssl-rsa-encrypted.pem"), sigbox.Invalid, "encrypted by openssl"},
		"encrypted":     {read(t, "openssl-pkcs8-encrypted.pem"), sigbox.Invalid, "openssl pkcs8 -topk8 -nocrypt"},
		"not PKCS #8":   {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), sigbox.Invalid, "PKCS #8"},
		"a huge file":   {make([]byte, 1<<20), sigbox.TooLarge, "at most"},
		"an X25519 key": {[]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n"), sigbox.Invalid, "cannot sign"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.Parse(c.file, nil)
			expectKind(t, err, c.kind, c.want)
		})
	}
}

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "a.pem")
	first, err := keys.LoadOrCreate(path, sigbox.ECDSAP256SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	expectMode(t, path, 0o600)
	expectMode(t, filepath.Dir(path), 0o700)

	second, err := keys.LoadOrCreate(path, sigbox.ECDSAP256SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	expectSame(t, first, second)

	_, err = keys.LoadOrCreate(path, sigbox.Ed25519, nil)
	expectKind(t, err, sigbox.Invalid, "do not match the key")
}

func TestLoadOrCreateAtOnceGivesOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "a.pem")
	got := make([]crypto.Signer, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = keys.LoadOrCreate(path, sigbox.Ed25519, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range got[1:] {
		expectSame(t, got[0], k)
	}
}

func TestAPassphraseEncryptsWhatStoodInTheClear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.pem")
	plain, err := keys.LoadOrCreate(path, sigbox.Ed25519, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.LoadOrCreate(path, sigbox.Ed25519, secret("s"))
	if err != nil {
		t.Fatal(err)
	}
	expectSame(t, plain, sealed)
	expectMode(t, path, 0o600)
	_, err = keys.Load(path, nil)
	expectKind(t, err, sigbox.Unauthenticated, "encrypted")
}

func TestLoadRefusesWhatOthersCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.pem")
	if _, err := keys.LoadOrCreate(path, sigbox.Ed25519, nil); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keys.Load(path, nil)
		expectKind(t, err, sigbox.Denied, "chmod 600 "+path)
	}
	_, err := keys.Load(filepath.Dir(path), nil)
	expectKind(t, err, sigbox.Invalid, "regular file")
	_, err = keys.Load(path+".none", nil)
	expectKind(t, err, sigbox.NotFound, path)
}

func TestPassphraseFrom(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pass"), "from the file\r\n", 0o600)
	write(t, filepath.Join(dir, "open"), "x", 0o644)
	write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	t.Setenv("SIGBOX_TEST_PASSPHRASE", "from the environment")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)

	for source, want := range map[string]string{
		"env:SIGBOX_TEST_PASSPHRASE":         "from the environment",
		"file:" + filepath.Join(dir, "pass"): "from the file",
		"credential:pass":                    "from the file",
	} {
		p, err := keys.PassphraseFrom(source)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := p(); err != nil || string(b) != want {
			t.Errorf("%s: expected %q, found %q (%v)", source, want, b, err)
		}
	}
	for source, kind := range map[string]sigbox.Kind{
		"env:SIGBOX_TEST_UNSET":                sigbox.Unauthenticated,
		"credential:open":                      sigbox.Denied,
		"credential:empty":                     sigbox.Unauthenticated,
		"file:" + filepath.Join(dir, "absent"): sigbox.NotFound,
	} {
		p, err := keys.PassphraseFrom(source)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p()
		expectKind(t, err, kind, source)
	}
	for _, source := range []string{"secret", "env:", "vault:x", "credential:../../etc/shadow"} {
		_, err := keys.PassphraseFrom(source)
		expectKind(t, err, sigbox.Invalid, "expected env:NAME")
	}
	for _, secret := range []string{"hunter2", "hunter2:hunter2"} { // put where its place should be named
		if _, err := keys.PassphraseFrom(secret); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("found %v", err)
		}
	}
	if p, err := keys.PassphraseFrom(""); p != nil || err != nil {
		t.Errorf("no source: expected none, found %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, details := range []sigbox.KeyDetails{sigbox.ECDSAP256SHA256, sigbox.Ed25519} {
		key, err := keys.Generate(details)
		if err != nil {
			f.Fatal(err)
		}
		file, err := keys.Marshal(key, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte(`{"kdf":{"name":"scrypt","params":{"N":32768,"r":8,"p":1},"salt":"AAAA"}}`)}))
	for _, name := range []string{"cosign.key", "openssl-ec.pem", "openssl-rsa.pem", "openssl-rsa-encrypted.pem"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if key, err := keys.Parse(file, nil); err == nil {
			again, err := keys.Marshal(key, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := keys.Parse(again, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func generate(t *testing.T, details sigbox.KeyDetails) crypto.Signer {
	t.Helper()
	key, err := keys.Generate(details)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func expectSame(t *testing.T, a, b crypto.Signer) {
	t.Helper()
	if !a.(interface{ Equal(crypto.PrivateKey) bool }).Equal(b) {
		t.Error("another key came back")
	}
}

func expectKind(t *testing.T, err error, kind sigbox.Kind, text string) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("expected an error of kind %q with %q, found %v", kind, text, err)
	}
}

func expectMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Errorf("%s: expected mode %v, found %v (%v)", path, mode, info.Mode().Perm(), err)
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
