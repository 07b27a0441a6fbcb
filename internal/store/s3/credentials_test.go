package s3_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// bare leaves no credentials in the environment, and nothing to ask for them.
func bare(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// roles gives out credentials to whoever shows a token: to containers, service accounts
// and machines.
func roles(t *testing.T) string {
	t.Helper()
	end := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const format = `{"Code": "Success", "AccessKeyId": %q, "SecretAccessKey": "s", "Token": "t", "Expiration": %q}`
		switch path := r.URL.Path; {
		case path == "/container" && r.Header.Get("Authorization") == "token":
			fmt.Fprintf(w, format, "container", end)
		case path == "/" && r.FormValue("WebIdentityToken") == "token" && r.FormValue("RoleArn") == "arn:aws:iam::1:role/r":
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>account</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, end)
		case path == "/latest/api/token" && r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, "token")
		case path == "/latest/meta-data/iam/security-credentials/" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "token":
			fmt.Fprint(w, "role")
		case path == "/latest/meta-data/iam/security-credentials/role" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "token":
			fmt.Fprintf(w, format, "machine", end)
		default:
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// Credentials are the first there are: of the environment, the file, or a role.
func TestCredentials(t *testing.T) {
	url := roles(t)
	s := &server{}
	open(t, s)
	bare(t)
	places := []struct {
		id  string
		set func()
	}{
		{"machine", func() {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
		}},
		{"container", func() {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, "token\n"))
		}},
		{"account", func() {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "token"))
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
		}},
		{"default", func() {
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "[default]\naws_access_key_id = default\naws_secret_access_key = a#b;%(c)s\n[other]\naws_access_key_id=other\naws_secret_access_key=s\n"))
		}},
		{"other", func() { t.Setenv("AWS_PROFILE", "other") }},
		{"environment", func() {
			t.Setenv("AWS_ACCESS_KEY_ID", "environment")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
		}},
	}
	for _, p := range places {
		p.set()
		must(t, reopen(t, s).Anchor("log").Store(t.Context(), p.id))
		if !strings.Contains(s.signed(), "Credential="+p.id+"/") {
			t.Errorf("expected those of %s, found %s", p.id, s.signed())
		}
	}
}

// Without credentials nothing is sent, and the error does not repeat the file.
func TestNoCredentials(t *testing.T) {
	s := &server{}
	b := open(t, s)
	bare(t)
	for _, text := range []string{"hush", "[default]\nhush\n", "[default\naws_secret_access_key = hush", "[default]\naws_secret_access_key = hush"} {
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, text))
		_, err := b.Anchor("log").Load(t.Context())
		expectKind(t, err, sigbox.Denied)
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hush") {
			t.Error(err)
		}
	}
	for _, url := range []string{"http://example.test/", "http://10.0.0.1/", "file:///x", "%zz"} {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
		_, err := b.Anchor("log").Load(t.Context())
		expectKind(t, err, sigbox.Denied)
		if !strings.Contains(fmt.Sprintf("%+v", err), "FULL_URI") {
			t.Errorf("%s: %+v", url, err)
		}
	}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/hush?hush=hush")
	_, err := b.Anchor("log").Load(t.Context())
	expectKind(t, err, sigbox.Denied)
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hush") {
		t.Errorf("the address that gives credentials is told: %v", err)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "token"))
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
	t.Setenv("AWS_ENDPOINT_URL_STS", "http://10.0.0.1")
	if _, err = b.Anchor("log").Load(t.Context()); !strings.Contains(fmt.Sprintf("%+v", err), "AWS_ENDPOINT_URL_STS is neither") {
		t.Errorf("a token may go there in plain text: %+v", err)
	}
	if s.signed() != "" {
		t.Errorf("something was sent: %s", s.signed())
	}
}

// A region that is not known is asked for, once; a server that names none has
// us-east-1.
func TestRegion(t *testing.T) {
	for _, tt := range []struct {
		status       int
		region, want string
	}{
		{http.StatusOK, "eu-west-1", "eu-west-1"},
		{http.StatusMovedPermanently, "eu-west-1", "eu-west-1"},
		{http.StatusBadRequest, "eu-west-1", "eu-west-1"},
		{http.StatusForbidden, "", "us-east-1"},
		{http.StatusNotFound, "", "us-east-1"},
	} {
		s := &server{heads: tt.status, region: tt.region}
		open(t, s)
		t.Setenv("AWS_REGION", "")
		t.Setenv("AWS_DEFAULT_REGION", "")
		b := reopen(t, s)
		must(t, b.Anchor("log").Store(t.Context(), "one"))
		must(t, b.Anchor("log").Store(t.Context(), "two"))
		if !strings.Contains(s.signed(), "/"+tt.want+"/s3/") || s.asked != 1 {
			t.Errorf("%+v: asked %d times, then %s", tt, s.asked, s.signed())
		}
	}
	s := &server{heads: http.StatusInternalServerError}
	open(t, s)
	t.Setenv("AWS_REGION", "")
	_, err := reopen(t, s).Anchor("log").Load(t.Context())
	expectKind(t, err, sigbox.Unavailable)
	if s.asked != 3 {
		t.Errorf("asked %d times", s.asked)
	}
}
