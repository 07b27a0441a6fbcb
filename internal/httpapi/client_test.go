package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/limit"
)

func proxies(t testing.TB, header string, trusted ...string) *Proxies {
	t.Helper()
	p, err := NewProxies(trusted, header)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestClient: the nearest hop that is no trusted proxy is the client; what is behind it
// was written by whoever it is.
func TestClient(t *testing.T) {
	for name, tt := range map[string]struct {
		header  string
		trusted []string
		peer    string
		lines   []string
		want    string
	}{
		"nobody is trusted":         {"", nil, "192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"},
		"somebody else is":          {"", []string{"10.0.0.0/8"}, "192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"},
		"one proxy":                 {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		"an address in the network": {"", []string{"10.1.1.1"}, "10.1.1.2:99", []string{"198.51.100.7"}, "10.1.1.2"},
		"a forged hop":              {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"127.0.0.1, 10.9.9.9, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":               {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"203.0.113.9,198.51.100.7, 10.1.1.2"}, "198.51.100.7"},
		"a line each":               {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"203.0.113.9", "198.51.100.7", "10.1.1.2"}, "198.51.100.7"},
		"proxies alone":             {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"10.0.0.3, 10.1.1.2"}, "10.0.0.3"},
		"no header":                 {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", nil, "10.1.1.1"},
		"nonsense":                  {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"198.51.100.7, unknown"}, "10.1.1.1"},
		"nonsense farther off":      {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"\x00, 10.1.1.2"}, "10.1.1.2"},
		"with a port":               {"", []string{"::1"}, "[::1]:99", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		"mapped":                    {"", []string{"10.0.0.0/8"}, "[::ffff:10.1.1.1]:99", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"a socket":                  {"", []string{"unix"}, "@", []string{"198.51.100.7"}, "198.51.100.7"},
		"a socket of anybody":       {"", []string{"10.0.0.0/8"}, "@", []string{"198.51.100.7"}, "invalid IP"},
		"the other header":          {"forwarded", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"198.51.100.7"}, "10.1.1.1"},
		"the standard's":            {"Forwarded", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{`for=203.0.113.9, proto=https;For="198.51.100.7:1234";by=10.1.1.1`}, "198.51.100.7"},
		"the standard's, of IPv6":   {"Forwarded", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{`for="[2001:db8::7]"`}, "2001:db8::7"},
		"the standard's, hidden":    {"Forwarded", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{`for=198.51.100.7, for=_hidden`}, "10.1.1.1"},
		"endless":                   {"", []string{"10.0.0.0/8"}, "10.1.1.1:99", []string{"198.51.100.7" + strings.Repeat(",10.0.0.1", 10_000)}, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			r.Header[forwardedForHeader], r.Header[forwardedHeader] = tt.lines, tt.lines
			if got, _ := proxies(t, tt.header, tt.trusted...).client(r); got.String() != tt.want {
				t.Errorf("expected %s, found %s", tt.want, got)
			}
		})
	}
	var nobody *Proxies
	if nobody.Trusts(netip.Addr{}) || nobody.Trusts(netip.MustParseAddr("::1")) {
		t.Error("nil trusts somebody")
	}
}

func TestNewProxiesRefuses(t *testing.T) {
	for _, trusted := range []string{"", "proxy.example.com", "10.0.0.1/8", "10.0.0.0/33", "::1%eth0/64"} {
		if _, err := NewProxies([]string{trusted}, ""); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%q: found %v", trusted, err)
		}
	}
	if _, err := NewProxies(nil, "x-real-ip"); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v", err)
	}
}

func FuzzClient(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.1", `for="[::1]:80";by=a, for=_x`)
	f.Fuzz(func(t *testing.T, plain, standard string) {
		for _, header := range []string{"", "forwarded"} {
			p := proxies(t, header, "10.0.0.0/8")
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{forwardedForHeader: {plain}, forwardedHeader: {standard}}}
			if got, proxied := p.client(r); !got.IsValid() || !proxied || got.Zone() != "" || got.Is4In6() {
				t.Errorf("found %s, %t", got, proxied)
			}
		}
	})
}

// TestLimits: an address gets what it may, whoever sends what it has not; others are not
// bothered, nor is who asks how the instance is.
func TestLimits(t *testing.T) {
	mux := http.NewServeMux()
	var seen string
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr })
	h, reg, log := guarded(Guard{
		PerClient: limit.New(limit.Rate{Events: 3, Per: time.Hour}, nil), Entries: limit.New(limit.Rate{Events: 1, Per: time.Hour}, nil),
		Proxies: proxies(t, "", "192.0.2.1"),
	}, mux)
	from := func(client, method, path string, header ...string) *httptest.ResponseRecorder {
		return do(h, method, path, append(header, "X-Forwarded-For", client)...)
	}
	for range 3 {
		if w := from("2001:db8::1", "GET", "/x"); w.Code != http.StatusOK {
			t.Fatalf("found %d", w.Code)
		}
	}
	if seen != "[2001:db8::1]:0" {
		t.Errorf("services see the address %s", seen)
	}
	w := from("2001:db8::2", "GET", "/x") // of the same network
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1200" || !strings.Contains(w.Body.String(), `"code":8`) || !strings.Contains(w.Body.String(), "more than 3/h") {
		t.Errorf("found %d %v %s", w.Code, w.Header(), w.Body)
	}
	w = from("2001:db8::2", "POST", "/dev.sigstore.rekor.v2.Rekor/CreateEntry", "Content-Type", "application/grpc")
	if w.Header().Get("Grpc-Status") != "8" || w.Header().Get("Grpc-Retry-Pushback-Ms") != "1200000" {
		t.Errorf("gRPC: found %v", w.Header())
	}
	if w := from("2001:db8::1", "GET", "/readyz"); w.Code != http.StatusOK {
		t.Errorf("/readyz: found %d", w.Code)
	}
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if w := from("198.51.100.1", "POST", "/api/v2/log/entries"); w.Code != want {
			t.Errorf("entry %d: expected %d, found %d", i, want, w.Code)
		}
	}
	if w := from("198.51.100.1", "GET", "/api/v2/log/entries"); w.Code != http.StatusOK {
		t.Errorf("reading: found %d", w.Code)
	}
	if _, n := counted(t, reg, "sigbox_limited_total"); n != 3 {
		t.Errorf("counted %v refusals", n)
	}
	if !strings.Contains(log.String(), "request refused") {
		t.Error("nothing is logged of it")
	}
}

// TestMetricsAreBounded (GHSA-9c54-x2g4-v92j): whatever strangers send as method, path,
// type or id makes no series of its own.
func TestMetricsAreBounded(t *testing.T) {
	mux := http.NewServeMux()
	(&Health{}).Register(mux)
	mux.HandleFunc("POST /api/v1/timestamp", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, slog.New(slog.DiscardHandler), sigbox.Errorf(sigbox.Invalid, "no"))
	})
	h, reg, _ := guarded(Guard{Proxies: proxies(t, "", "192.0.2.1")}, mux)
	send := func(n string) {
		for _, path := range []string{"/" + n, "/healthz", "/healthz?" + n, "/api/v1/timestamp", "/api/v1/timestamp/" + n} {
			for _, method := range []string{"GET", "POST", "X" + n, strings.Repeat("M", 100) + n} {
				do(h, method, path, "Content-Type", "application/"+n, "X-Request-Id", n, "X-Forwarded-For", "198.51.100."+n, "User-Agent", n, "Host", n)
			}
		}
	}
	series := func() (n int) {
		for _, name := range []string{"sigbox_http_requests_total", "sigbox_http_request_duration_seconds", "sigbox_limited_total"} {
			s, _ := counted(t, reg, name)
			n += s
		}
		return n
	}
	send("0")
	before := series()
	for _, n := range []string{"1", "2", "33", "77", "125"} {
		send(n)
	}
	if after := series(); after != before || before > 40 {
		t.Errorf("%d series became %d", before, after)
	}
}
