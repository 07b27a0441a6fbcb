package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	directory = 1000      // artifacts
	large     = 2 << 30   // bytes
	statement = 100 << 10 // bytes
)

// measureVerify measures verification: whole processes beside cosign, and with
// the program verification the library beside sigstore-go.
func measureVerify(ctx context.Context, c config, t *table) error {
	w, err := openWorkshop(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	if _, err := w.command(ctx, w.sigboxSign); err != nil {
		return err
	}
	if err := w.compare(ctx, t, "verify a file", w.sigboxVerify, w.cosignVerify, " (goals 0.35, 0.40)"); err != nil {
		return err
	}
	if err := w.initialisation(ctx, t); err != nil {
		return err
	}
	if err := w.largeFile(ctx, t); err != nil {
		return err
	}
	m, err := w.material(ctx)
	if err != nil {
		return err
	}
	for _, folder := range []string{"one", "many"} {
		if err := w.directory(ctx, t, m, folder); err != nil {
			return err
		}
	}
	return w.library(ctx, t, m)
}

// initialisation adds up what packages do before main (GODEBUG=inittrace=1).
func (w *workshop) initialisation(ctx context.Context, t *table) error {
	var sums []usage
	for range w.runs {
		_, out, err := w.spawn(ctx, []string{"GODEBUG=inittrace=1"}, filepath.Join(w.bin, "sigbox"), w.verifyArgs("verify")...)
		if err != nil {
			return err
		}
		var sum time.Duration
		for line := range strings.Lines(string(out)) {
			// init crypto/tls @0.61 ms, 0.020 ms clock, 3408 bytes, 54 allocs
			if f := strings.Fields(line); len(f) > 5 && f[0] == "init" {
				ms, err := strconv.ParseFloat(f[4], 64)
				if err != nil {
					return err
				}
				sum += time.Duration(ms * float64(time.Millisecond))
			}
		}
		sums = append(sums, usage{wall: sum})
	}
	t.add("packages' initialisation", "", "**"+millis(median(sums).wall)+"**", "", "(goal 7 ms)")
	return nil
}

// largeFile verifies one that is mostly hashed, beside programs that do nothing
// else. It has no blocks on disk: what is read comes from the kernel's memory.
func (w *workshop) largeFile(ctx context.Context, t *table) error {
	file := filepath.Join(w.work, "large.bin")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(large), f.Close()); err != nil {
		return err
	}
	if err := w.sign(ctx, file); err != nil {
		return err
	}
	programs := []struct {
		name, path string
		args       []string
	}{
		{"sigbox", filepath.Join(w.bin, "sigbox"), w.verifyBeside("verify", file)},
		{"openssl dgst -sha256", "", []string{"openssl", "dgst", "-sha256", file}},
		{"sha256sum", "", []string{"sha256sum", file}},
		{"cat > /dev/null", "", []string{"sh", "-c", "cat \"$0\" > /dev/null", file}},
	}
	all := make([][]usage, len(programs))
	for range max(1, w.runs/3) {
		for i, p := range programs {
			args := p.args
			if p.path == "" {
				if p.path, err = exec.LookPath(args[0]); err != nil {
					continue // not on this machine
				}
				args = args[1:]
			}
			u, _, err := w.spawn(ctx, nil, p.path, args...)
			if err != nil {
				return err
			}
			all[i] = append(all[i], u)
		}
	}
	var peers []string
	ours, fastest := median(all[0]), time.Duration(0)
	for i, p := range programs[1:] {
		if len(all[i+1]) == 0 {
			continue
		}
		u := median(all[i+1])
		peers = append(peers, p.name+": "+u.String())
		if hashes := !strings.HasPrefix(p.name, "cat"); hashes && (fastest == 0 || u.wall < fastest) {
			fastest = u.wall
		}
	}
	t.add("verify a file of 2 GiB", "", fmt.Sprintf("%s; %.2f GB/s", ours, large/1e9/ours.wall.Seconds()), strings.Join(peers, "; "), times(float64(ours.wall), float64(fastest)))
	return nil
}

// directory verifies a folder with one core, and with all.
func (w *workshop) directory(ctx context.Context, t *table, material, folder string) error {
	var one, all []usage
	dir := filepath.Join(material, folder)
	for range max(1, w.runs/3) {
		for _, to := range []struct {
			list *[]usage
			env  []string
		}{{&one, []string{"GOMAXPROCS=1"}}, {&all, nil}} {
			u, _, err := w.spawn(ctx, to.env, filepath.Join(w.bin, "sigbox"), w.verifyBeside("verify", dir)...)
			if err != nil {
				return err
			}
			*to.list = append(*to.list, u)
		}
	}
	a, b := median(one), median(all)
	t.add(fmt.Sprintf("verify a directory of %s, %s", thousands(directory), map[string]string{"one": "under one certificate", "many": "under a certificate each"}[folder]),
		"", b.String(), "one core: "+a.String(), fmt.Sprintf("%.2f × as fast (goal 1.80)", float64(a.wall)/float64(b.wall)))
	return nil
}

// verifyBeside verifies what has its bundles beside it.
func (w *workshop) verifyBeside(verb, what string) []string {
	return []string{verb, "--trusted-root", w.root, "--certificate-identity", signer, "--certificate-oidc-issuer", w.issuer.url, what}
}

// sign signs files, all under one certificate.
func (w *workshop) sign(ctx context.Context, args ...string) error {
	token, err := w.issuer.token(signer)
	if err != nil {
		return err
	}
	_, err = w.once(ctx, "sigbox", append([]string{"sign", "--instance", "bench", "--identity-token", token}, args...)...)
	return err
}

// material has things signed for the program verification: a directory under one
// certificate, one under a certificate each, and statements.
func (w *workshop) material(ctx context.Context) (string, error) {
	dir := filepath.Join(w.work, "material")
	for _, folder := range []string{"one", "many", "statement"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return "", err
		}
	}
	root, err := os.ReadFile(w.root)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "trusted_root.json"), root, 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(signer+"\n"+w.issuer.url+"\n"), 0o600); err != nil {
		return "", err
	}
	many := make([]string, directory)
	for i := range many {
		many[i] = filepath.Join(dir, "many", fmt.Sprintf("%04d.bin", i))
		for _, file := range []string{many[i], filepath.Join(dir, "one", filepath.Base(many[i]))} {
			content := make([]byte, 4<<10)
			_, _ = rand.Read(content) // never fails
			if err := os.WriteFile(file, content, 0o600); err != nil {
				return "", err
			}
		}
	}
	if err := w.sign(ctx, filepath.Join(dir, "one")); err != nil {
		return "", err
	}
	if err := w.signEach(ctx, many); err != nil {
		return "", err
	}
	return dir, w.statements(ctx, filepath.Join(dir, "statement"))
}

// signEach signs each file under a certificate of its own, two at a time.
func (w *workshop) signEach(ctx context.Context, files []string) error {
	var next atomic.Int64
	var errs [2]error
	var group sync.WaitGroup
	for g := range errs {
		group.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				errs[g] = w.sign(ctx, files[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs[:]...)
}

// statements makes two artifacts, each with a signed statement about it.
func (w *workshop) statements(ctx context.Context, dir string) error {
	for _, name := range []string{"a.bin", "b.bin"} {
		artifact := filepath.Join(dir, name)
		if err := os.WriteFile(artifact, []byte(name), 0o600); err != nil {
			return err
		}
		text, err := statementAbout(name, []byte(name))
		if err != nil {
			return err
		}
		file := filepath.Join(dir, name+".statement")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		if err := w.sign(ctx, "--in-toto", "--bundle", artifact+".sigstore.json", file); err != nil {
			return err
		}
	}
	return nil
}

// statementAbout makes provenance that lists what a large build was made from.
func statementAbout(name string, artifact []byte) ([]byte, error) {
	type digests map[string]string
	type resource struct {
		Name   string  `json:"name,omitempty"`
		URI    string  `json:"uri,omitempty"`
		Digest digests `json:"digest"`
	}
	digest := func(b []byte) digests { return digests{"sha256": fmt.Sprintf("%x", sha256.Sum256(b))} }
	var from []resource
	for size := 0; size < statement; size += 150 {
		uri := fmt.Sprintf("pkg:golang/example.com/module-%d@v1.%d.0", len(from), len(from)%30)
		from = append(from, resource{URI: uri, Digest: digest([]byte(uri))})
	}
	return json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
		"subject": []resource{{Name: name, Digest: digest(artifact)}},
		"predicate": map[string]any{
			"buildDefinition": map[string]any{"buildType": "https://example.com/build/v1", "externalParameters": map[string]string{"source": "https://example.com/acme"},
				"resolvedDependencies": from},
			"runDetails": map[string]any{"builder": map[string]string{"id": "https://example.com/builder"}},
		},
	})
}

// library runs the program verification: sigstore-go is in it, so that this
// process stays small.
func (w *workshop) library(ctx context.Context, t *table, material string) error {
	args := []string{"-material", material, "-conformance", w.conformance, "-sigstore-go", w.sigstoreGo}
	say("the library beside sigstore-go: about a minute")
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "verification"), args...) // #nosec G204 -- our own
	var errText bytes.Buffer
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("verification: %w\n%s", err, tail(errText.Bytes(), 2000))
	}
	t.more = append(t.more, string(out))
	return nil
}
