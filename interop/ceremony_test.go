package interop

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCeremonyOnToken keeps the roots' keys on a token: they are made there, sign there the
// first answer and the next root and CA, and refuse while the token is away; what comes of
// that foreign clients take.
func TestCeremonyOnToken(t *testing.T) {
	t.Setenv("PATH", tools(t, "bin")+":"+os.Getenv("PATH"))
	token := tokenHolder(t)
	dir, binary, addr := t.TempDir(), build(t), freeAddr(t)
	desk, data := filepath.Join(dir, "desk"), filepath.Join(dir, "data")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, append([]string{"ceremony"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ceremony %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	accept := func(answer string) {
		t.Helper()
		transcript, err := os.ReadFile(strings.TrimSuffix(answer, ".json") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		sum := regexp.MustCompile(`(?m)^  ([0-9a-f]{64})  ` + filepath.Base(answer) + `$`).FindSubmatch(transcript)
		if sum == nil {
			t.Fatalf("the transcript does not name the answer:\n%s", transcript)
		}
		run("accept", answer, "--data", data, "--sha256", string(sum[1]))
	}

	run("init", "--dir", desk, "--place", token.place)
	if keys, _ := filepath.Glob(filepath.Join(desk, "keys", "*.pem")); len(keys) > 0 {
		t.Errorf("the keys are files as well: %q", keys)
	}
	run("request", "--data", data, "--url", "http://"+addr, "--out", file("request.json"))
	token.away(t)
	if err := command(dir, nil, binary, "ceremony", "sign", file("request.json"), "--dir", desk, "--out", file("answer.json"), "--yes"); err == nil {
		t.Error("it signs without its token")
	}
	if _, err := os.Stat(file("answer.json")); err == nil {
		t.Error("there is an answer all the same")
	}
	token.back(t)
	run("sign", file("request.json"), "--dir", desk, "--out", file("answer.json"), "--yes")
	accept(file("answer.json"))

	in := serveIn(t, "http", http.DefaultClient, addr, data)
	clients := []client{
		sigboxClient{binary: in.binary, home: filepath.Join(dir, "sigbox")},
		cosignClient{binary: tools(t, "bin", "cosign"), home: filepath.Join(dir, "cosign")},
	}
	for _, c := range clients {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s: %v", c.name(), err)
		}
	}
	r := &rotationRun{in: in, dir: dir, clients: clients}
	r.point(t, "first")
	run("request", "--data", data, "--role", "tuf,ca", "--out", file("request-2.json"))
	run("sign", file("request-2.json"), "--dir", desk, "--out", file("answer-2.json"), "--yes")
	accept(file("answer-2.json"))
	r.point(t, "second")
}
