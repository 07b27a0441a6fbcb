package interop

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startKeycloak runs a Keycloak that knows nobody but its administrator, and gives its
// URL.
func startKeycloak(t *testing.T, password string) string {
	t.Helper()
	addr := freeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	log := filepath.Join(t.TempDir(), "keycloak.log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tools(t, "keycloak", "bin", "kc.sh"), "start", "--optimized", "--http-enabled=true", "--hostname-strict=false", "--http-host="+host, "--http-port="+port)
	cmd.Env = append(os.Environ(), "JAVA_OPTS=-Xmx512m -XX:MaxMetaspaceSize=256m -XX:TieredStopAtLevel=1", "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD="+password)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it ends by a signal
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		file.Close()
	})
	for range 1800 {
		if resp, err := http.Get("http://" + addr + "/realms/master"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(log)
			t.Fatalf("Keycloak ended before it was ready:\n%s", text)
		case <-time.After(100 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("Keycloak does not come up in three minutes:\n%s", text)
	return ""
}

// TestPeoplesLogins runs the commands of that section of docs/operations.md with a real
// Keycloak; before its last, cosign signs by the same login, and its bundle verifies.
func TestPeoplesLogins(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## People's logins\n")
	if !found {
		t.Fatal("docs/operations.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	script := "set -eu\ntrap 'kill $pid 2>/dev/null || true' EXIT\n"
	for i, m := range blocks {
		if i == len(blocks)-1 {
			script += `
cosign initialize --mirror http://$LISTEN/tuf --root people/root.json
timeout 120 cosign sign-blob --yes --fulcio-auth-flow normal --bundle cosign.json file
cosign verify-blob --bundle cosign.json --certificate-identity ada@example.com --certificate-oidc-issuer $KEYCLOAK/realms/people file
sigbox verify file --bundle cosign.json --instance people --certificate-identity ada@example.com --certificate-oidc-issuer $KEYCLOAK/realms/people
`
		}
		script += m[1]
	}
	const password = "the administrator's word"
	keycloak := startKeycloak(t, password)
	dir, binary, bin := t.TempDir(), build(t), t.TempDir()
	if err := os.Symlink(tools(t, "bin", "browser"), filepath.Join(bin, "xdg-open")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-xc", script)
	cmd.Dir = dir
	path := []string{bin, filepath.Dir(binary), tools(t, "bin"), tools(t, "keycloak", "bin"), os.Getenv("PATH")}
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(path, ":"), "HOME="+dir, "SIGBOX_HOME="+dir+"/home", "BROWSER=", "JAVA_OPTS=-Xmx256m -XX:TieredStopAtLevel=1",
		"KEYCLOAK="+keycloak, "ADMIN_PASSWORD="+password, "LISTEN="+freeAddr(t), "LOGIN_NAME=ada", "LOGIN_PASSWORD=correct horse battery staple")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s\nthe log of the instance:\n%s", err, out, log)
	}
}
