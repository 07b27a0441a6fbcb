package interop

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// startVault runs OpenBao and gives its address, root token and unseal key.
func startVault(t *testing.T) (addr, token, unseal string) {
	t.Helper()
	at := freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, tools(t, "bin", "vault"), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-dev-listen-address="+at)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		file.Close()
	})
	for range 300 {
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`Unseal Key: (\S+)`).FindSubmatch(text); m != nil {
			if resp, err := http.Get("http://" + at + "/v1/sys/health"); err == nil {
				resp.Body.Close()
				return "http://" + at, "root", string(m[1])
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the server of OpenBao does not come up in 30 s:\n%s", log.String())
	return "", "", ""
}

// softHSM has SoftHSM's tokens in a directory of the test's.
func softHSM(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Fatalf("%v\nmake interop installs it", err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
}

// TestKeysOutsideOfFiles runs the commands of that section of docs/operations.md, with
// the real server and SoftHSM.
func TestKeysOutsideOfFiles(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Keys outside of files\n")
	if !found {
		t.Fatal("docs/operations.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	script := "set -eu\ntrap 'kill $pid 2>/dev/null || true' EXIT\n"
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		script += m[1]
	}
	softHSM(t)
	addr, token, unseal := startVault(t)
	dir, binary := t.TempDir(), build(t)
	listen := freeAddr(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-xc", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+tools(t, "bin")+":"+os.Getenv("PATH"), "HOME="+dir, "SIGBOX_HOME="+dir+"/home",
		"VAULT_ADDR="+addr, "BAO_ADDR="+addr, "VAULT_TOKEN="+token, "UNSEAL_KEY="+unseal, "LISTEN="+listen)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s\nthe log of the instance:\n%s", err, out, log)
	}
}

// TestKeysBehindAPlugin: an instance's keys are behind a plugin of Sigstore's own
// parts, but for the CA's, which is on a token; cosign signs with that, and verifies
// what was signed with sigbox.
func TestKeysBehindAPlugin(t *testing.T) {
	softHSM(t)
	t.Setenv("PATH", tools(t, "bin")+":"+os.Getenv("PATH"))
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if err := command(dir, nil, name, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("softhsm2-util", "--init-token", "--free", "--label", "sigbox", "--pin", "1234", "--so-pin", "5678")
	if err := os.WriteFile(filepath.Join(dir, "pin"), []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	onToken := "token=sigbox;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:" + dir + "/pin"
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("keys:\n  default: files://"+dir+"/{key}\n  ca: pkcs11:"+onToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := serveWith(t, "http", http.DefaultClient, "--config", config)
	clients := []client{
		sigboxClient{binary: in.binary, home: filepath.Join(dir, "sigbox")},
		cosignClient{binary: tools(t, "bin", "cosign"), home: filepath.Join(dir, "cosign")},
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s: %v", c.name(), err)
		}
	}
	for _, signer := range clients {
		bundle := filepath.Join(dir, signer.name()+".json")
		if err := signer.sign(in, in.token(t), file, bundle); err != nil {
			t.Fatalf("%s: %v", signer.name(), err)
		}
		for _, verifier := range clients {
			if err := verifier.verify(in, file, bundle, email, in.issuer); err != nil {
				t.Errorf("%s does not verify what %s has signed: %v", verifier.name(), signer.name(), err)
			}
		}
	}

	// The other way round: our plugin, as cosign's.
	bin := t.TempDir()
	if err := os.Symlink(tools(t, "bin", "sigstore-kms-pkcs11"), filepath.Join(bin, "sigstore-kms-token")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cosign := tools(t, "bin", "cosign")
	mine := "token://" + strings.Replace(onToken, "object=ca", "object=mine", 1)
	t.Chdir(dir) // cosign writes cosign.pub there
	run(cosign, "generate-key-pair", "--kms", mine)
	bundle := filepath.Join(dir, "key.json")
	run(cosign, "sign-blob", "--yes", "--key", mine, "--use-signing-config=false", "--tlog-upload=false", "--bundle", bundle, file)
	run(cosign, "verify-blob", "--key", filepath.Join(dir, "cosign.pub"), "--insecure-ignore-tlog", "--bundle", bundle, file)
	run(cosign, "verify-blob", "--key", mine, "--insecure-ignore-tlog", "--bundle", bundle, file)
}

// keyHolder keeps all of an instance's keys, and can be taken away.
type keyHolder struct {
	place string // in the settings, with {key}
	away  func(t *testing.T)
	back  func(t *testing.T)
}

// keyHolders are a token, a Vault and a plugin of Sigstore's own parts.
func keyHolders() map[string]func(t *testing.T) keyHolder {
	return map[string]func(t *testing.T) keyHolder{"token": tokenHolder, "vault": vaultHolder, "plugin": pluginHolder}
}

// hide takes a directory away, and gives what brings it back.
func hide(dir string) (away, back func(t *testing.T)) {
	move := func(from, to string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	return move(dir, dir+".away"), move(dir+".away", dir)
}

func tokenHolder(t *testing.T) keyHolder {
	softHSM(t)
	dir := filepath.Dir(os.Getenv("SOFTHSM2_CONF"))
	if err := command(dir, nil, "softhsm2-util", "--init-token", "--free", "--label", "sigbox", "--pin", "1234", "--so-pin", "5678"); err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	away, back := hide(dir)
	return keyHolder{"pkcs11:token=sigbox;object={key}?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:" + pin, away, back}
}

func vaultHolder(t *testing.T) keyHolder {
	addr, token, unseal := startVault(t)
	t.Setenv("VAULT_ADDR", addr)
	t.Setenv("VAULT_TOKEN", token)
	run := func(args ...string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := command(t.TempDir(), []string{"BAO_ADDR=" + addr, "BAO_TOKEN=" + token}, tools(t, "bin", "vault"), args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("secrets", "enable", "transit")(t)
	return keyHolder{"hashivault://sigbox-{key}", run("operator", "seal"), run("operator", "unseal", unseal)}
}

func pluginHolder(t *testing.T) keyHolder {
	t.Setenv("PATH", tools(t, "bin")+":"+os.Getenv("PATH"))
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	away, back := hide(dir)
	return keyHolder{"files://" + dir + "/{key}", away, back}
}

// TestRotationOutside replaces the keys of instances that have them all in one of the
// places outside of files, by keys that are made there; the place goes away between, and
// nothing begins meanwhile.
func TestRotationOutside(t *testing.T) {
	for name, hold := range keyHolders() {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", tools(t, "bin")+":"+os.Getenv("PATH"))
			holder := hold(t)
			dir := t.TempDir()
			config := write(t, filepath.Join(dir, "config.yaml"), "keys:\n  default: "+holder.place+"\n")
			in := serveWith(t, "http", http.DefaultClient, "--config", config)
			r := &rotationRun{in: in, dir: dir, clients: []client{
				sigboxClient{binary: in.binary, home: filepath.Join(dir, "sigbox")},
				cosignClient{binary: tools(t, "bin", "cosign"), home: filepath.Join(dir, "cosign")},
			}}
			for _, c := range r.clients {
				if err := c.trust(in); err != nil {
					t.Fatalf("%s: %v", c.name(), err)
				}
			}
			roles := []string{"ca", "tsa", "oidc", "ctlog", "rekor2", "rekor1"}
			r.point(t, "before")
			holder.away(t)
			for _, role := range append(roles, "tuf") {
				if err := command(dir, nil, in.binary, "rotate", role, "--data", in.data); !refused(err) {
					t.Errorf("%s was rotated without its keys' place: %v", role, err)
				}
			}
			holder.back(t)
			well(t, in)
			for _, role := range roles {
				r.rotate(t, role, "--switch-after", "0s")
			}
			r.rotate(t, "tuf")
			r.point(t, "after")
		})
	}
}

// well waits until an instance has found out that it is well again.
func well(t *testing.T, in *instance) {
	t.Helper()
	for range 600 {
		resp, err := http.Get(in.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("it is not well again after a minute")
}
