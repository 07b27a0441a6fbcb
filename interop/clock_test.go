package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// startChrony starts an NTP server that serves this machine's time, and sets nothing. It
// gives its address.
func startChrony(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().(*net.UDPAddr)
	conn.Close()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("local stratum 8\nallow 127.0.0.0/8\nport %d\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile %s/pid\ndriftfile %s/drift\n", addr.Port, dir, dir)
	file := write(t, filepath.Join(dir, "chrony.conf"), config)
	var log bytes.Buffer
	cmd := exec.Command(tools(t, "bin", "chronyd"), "-U", "-u", me.Username, "-x", "-d", "-f", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("chronyd said:\n%s", log.String())
		}
	})
	return addr.String()
}

// TestChrony: an instance that is required to know the time learns it of a real NTP server,
// and serves.
func TestChrony(t *testing.T) {
	settings := write(t, filepath.Join(t.TempDir(), "config.yaml"), "time: {ntp-servers: ['"+startChrony(t)+"'], required: true, interval: 16s}\n")
	in := serveWith(t, "http", http.DefaultClient, "--config", settings) // ready means that the clock is trusted
	out, err := exec.Command(in.binary, "status", "--data", in.data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "as NTP servers had it") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.Command(in.binary, "doctor", "--data", in.data, "--config", settings).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "within 0.") || !strings.Contains(string(out), "a signature was made, and verifies") {
		t.Errorf("%v\n%s", err, out)
	}
}
