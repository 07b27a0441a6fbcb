package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const signer = "dev@example.com"

// measureProcesses measures what a person waits for: an instance that starts, a
// file that is signed. Whole processes, from fork to exit.
func measureProcesses(ctx context.Context, c config, t *table) error {
	w, err := openWorkshop(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	time.Sleep(3 * time.Second) // idle: what the start needed is given back
	idle, err := w.server.memory("VmRSS")
	if err != nil {
		return err
	}
	t.add("serve, from an empty directory to ready", "", millis(w.server.ready), "", "")
	t.add("serve, resident when idle", "", fmt.Sprintf("%d MB", idle>>20), "", "")
	info, err := os.Stat(filepath.Join(c.bin, "sigbox"))
	if err != nil {
		return err
	}
	t.add("the program, stripped", "", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), "", "")
	if err := w.prepare(ctx); err != nil {
		return err
	}
	return w.compare(ctx, t, "sign a file", w.sigboxSign, w.cosignSign, "")
}

// workshop has a file, an instance, and the ways to sign and verify.
type workshop struct {
	config
	server   *server
	issuer   *issuer
	artifact string
	root     string // trusted_root.json
	signing  string // signing_config.v0.2.json
}

// openWorkshop starts what there is to be in a workshop. The file comes with prepare.
func openWorkshop(ctx context.Context, c config) (*workshop, error) {
	i, err := startIssuer(ctx)
	if err != nil {
		return nil, err
	}
	s, err := startSigbox(ctx, c, i.url)
	if err != nil {
		i.stop()
		return nil, err
	}
	return &workshop{config: c, server: s, issuer: i, artifact: filepath.Join(c.work, "artifact.bin")}, nil
}

func (w *workshop) close() {
	w.server.stop()
	w.issuer.stop()
}

func (w *workshop) prepare(ctx context.Context) error {
	artifact := make([]byte, 1<<20)
	_, _ = rand.Read(artifact) // never fails
	if err := os.WriteFile(w.artifact, artifact, 0o600); err != nil {
		return err
	}
	var err error
	if w.root, err = find(w.server.dir, "trusted_root.json"); err != nil {
		return err
	}
	if w.signing, err = find(w.server.dir, "signing_config.v0.2.json"); err != nil {
		return err
	}
	_, err = w.once(ctx, "sigbox", "instance", "add", "bench", w.server.url, "--root", filepath.Join(w.server.dir, "data", "root.json"))
	return err
}

// find gives the file below dir whose name ends with suffix; TUF puts a hash
// before names.
func find(dir, suffix string) (string, error) {
	found := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(d.Name(), suffix) {
			found = path
		}
		return nil // what cannot be read is not it
	})
	if err == nil && found == "" {
		err = fmt.Errorf("no %s below %s", suffix, dir)
	}
	return found, err
}

func (w *workshop) sigboxSign() (string, []string, error) {
	token, err := w.issuer.token(signer)
	return "sigbox", []string{"sign", "--instance", "bench", "--identity-token", token, "--bundle", w.bundle("sigbox"), w.artifact}, err
}

func (w *workshop) cosignSign() (string, []string, error) {
	token, err := w.issuer.token(signer)
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(w.work, "token") // cosign takes RS256 tokens alone on its command line
	return "cosign", []string{"sign-blob", "--yes", "--trusted-root", w.root, "--signing-config", w.signing, "--identity-token", file,
		"--bundle", w.bundle("cosign"), w.artifact}, os.WriteFile(file, []byte(token), 0o600)
}

func (w *workshop) sigboxVerify() (string, []string, error) {
	return "sigbox", w.verifyArgs("verify"), nil
}

func (w *workshop) cosignVerify() (string, []string, error) {
	return "cosign", w.verifyArgs("verify-blob"), nil
}

// verifyArgs are the same for both programs, and so is the bundle.
func (w *workshop) verifyArgs(verb string) []string {
	return []string{verb, "--trusted-root", w.root, "--bundle", w.bundle("sigbox"), "--certificate-identity", signer,
		"--certificate-oidc-issuer", w.issuer.url, w.artifact}
}

func (w *workshop) bundle(by string) string {
	return filepath.Join(w.work, "artifact."+by+".sigstore.json")
}

// usage is what one process took.
type usage struct {
	wall, cpu time.Duration
	memory    int64 // bytes, the most that was resident
}

func (u usage) String() string {
	return fmt.Sprintf("**%s**, cpu %s, %d MB", millis(u.wall), millis(u.cpu), u.memory>>20)
}

// compare runs ours and the peer's command in turn and takes medians. The goal, if
// any, is printed beside them.
func (w *workshop) compare(ctx context.Context, t *table, what string, ours, theirs func() (string, []string, error), goal string) error {
	var mine, peer []usage
	for range w.runs {
		u, err := w.command(ctx, ours)
		if err != nil {
			return err
		}
		mine = append(mine, u)
		if w.alone {
			continue
		}
		if u, err = w.command(ctx, theirs); err != nil {
			return err
		}
		peer = append(peer, u)
	}
	m := median(mine)
	if w.alone {
		t.add(what, "", m.String(), "", "")
		return nil
	}
	p := median(peer)
	t.add(what, "", m.String(), "cosign 3.1.3: "+p.String(),
		fmt.Sprintf("%.2f of its time, %.2f of its memory%s", float64(m.wall)/float64(p.wall), float64(m.memory)/float64(p.memory), goal))
	return nil
}

func (w *workshop) command(ctx context.Context, make func() (string, []string, error)) (usage, error) {
	name, args, err := make()
	if err != nil {
		return usage{}, err
	}
	return w.once(ctx, name, args...)
}

// once runs a program to its end.
func (w *workshop) once(ctx context.Context, name string, args ...string) (usage, error) {
	u, _, err := w.spawn(ctx, nil, filepath.Join(w.bin, name), args...)
	return u, err
}

// spawn runs a program with more in its environment, and gives what it printed.
func (w *workshop) spawn(ctx context.Context, env []string, path string, args ...string) (usage, []byte, error) {
	cmd := exec.CommandContext(ctx, path, args...) // #nosec G204 -- the programs under measurement
	cmd.Env = append([]string{"HOME=" + w.work, "PATH=" + os.Getenv("PATH"), "SIGBOX_HOME=" + filepath.Join(w.work, "home")}, env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(start)
	if err != nil {
		return usage{}, nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(path), args[0], err, tail(out, 2000))
	}
	u := usage{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.memory = r.Maxrss << 10 // Linux counts in KiB
	}
	return u, out, nil
}

// median takes each quantity's own median.
func median(us []usage) usage {
	pick := func(of func(usage) int64) int64 {
		v := make([]int64, len(us))
		for i, u := range us {
			v[i] = of(u)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return usage{
		wall:   time.Duration(pick(func(u usage) int64 { return int64(u.wall) })),
		cpu:    time.Duration(pick(func(u usage) int64 { return int64(u.cpu) })),
		memory: pick(func(u usage) int64 { return u.memory }),
	}
}
