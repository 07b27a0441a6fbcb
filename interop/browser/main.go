// Command browser is a person at a browser: it opens the page of its argument, fills in
// each form that it is shown with $LOGIN_NAME and $LOGIN_PASSWORD, consents, and ends
// where no form comes any more. Under the name xdg-open it is what programs start that
// want somebody to log in, and returns at once: cosign waits for that.
package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: browser URL")
		os.Exit(2)
	}
	if filepath.Base(os.Args[0]) == "xdg-open" {
		if err := inBackground(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "browser:", err)
			os.Exit(1)
		}
		return
	}
	said, err := visit(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "browser:", said)
}

// inBackground opens a page in a process of its own.
func inBackground(page string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, page)
	cmd.Args[0] = "browser"
	cmd.Stderr = os.Stderr
	return cmd.Start()
}

var (
	form      = regexp.MustCompile(`(?s)<form[^>]*\saction="([^"]*)".*?</form>`)
	field     = regexp.MustCompile(`<(?:input|button)[^>]*>`)
	attribute = regexp.MustCompile(`\s([a-z]+)="([^"]*)"`)
	tag       = regexp.MustCompile(`(?s)<(style|script).*?</(style|script)>|<[^>]*>`)
	spaces    = regexp.MustCompile(`\s+`)
)

// visit goes through the forms from a page on, and gives the text of the last page.
func visit(page string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar}
	resp, err := client.Get(page)
	for range 10 {
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return "", err
		}
		text := strings.TrimSpace(spaces.ReplaceAllString(tag.ReplaceAllString(string(body), " "), " "))
		m := form.FindSubmatch(body)
		if resp.StatusCode != http.StatusOK || m == nil {
			if resp.StatusCode != http.StatusOK {
				return "", fmt.Errorf("%s: %s: %s", resp.Request.URL.Host, resp.Status, text)
			}
			return text, nil
		}
		target, err := resp.Request.URL.Parse(html.UnescapeString(string(m[1])))
		if err != nil {
			return "", err
		}
		resp, err = client.PostForm(target.String(), fill(string(m[0])))
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("the forms have no end")
}

// fill gives what a person sends with a form: the name and the password where they are
// asked for, and yes.
func fill(form string) url.Values {
	values := url.Values{}
	for _, f := range field.FindAllString(form, -1) {
		a := map[string]string{}
		for _, m := range attribute.FindAllStringSubmatch(f, -1) {
			a[m[1]] = html.UnescapeString(m[2])
		}
		switch {
		case a["name"] == "username" || a["name"] == "email":
			values.Set(a["name"], os.Getenv("LOGIN_NAME"))
		case a["name"] == "password":
			values.Set("password", os.Getenv("LOGIN_PASSWORD"))
		case a["type"] == "hidden", a["name"] == "action" && a["value"] == "allow":
			values.Set(a["name"], a["value"])
		}
	}
	return values
}
