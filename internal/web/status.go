package web

import (
	"net/http"
	"strconv"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// StatusView is how an instance is.
type StatusView struct {
	// URL is the instance's, without a slash at its end.
	URL     string
	Ready   bool
	Version string
	// Started is when; nil if that is not known.
	Started *time.Time
	// RootSHA256 is the digest of /root.json in hexadecimal, "" without one here.
	RootSHA256 string
	// Services are what runs here; the text is "" while all is well.
	Services []StatusLine
	Logs     []StatusLog
	// Ends are when things do that clients rely on.
	Ends []StatusEnd
	// Fingerprints are by what clients know the services.
	Fingerprints []StatusLine
}

// StatusLine is a name and what is to be said of it.
type StatusLine struct {
	Name, Text string
	Bad        bool
}

// StatusLog is how far a log has come; Committed is nil for an empty one.
type StatusLog struct {
	Origin    string
	Size      uint64
	Committed *time.Time
}

// StatusEnd is when something ends.
type StatusEnd struct {
	Name string
	At   time.Time
}

// Status says how an instance is: with 200, also when it is not well, for people.
func (p *Pages) Status(w http.ResponseWriter, v StatusView) {
	p.write(w, http.StatusOK, "'none'", status(v))
}

func status(v StatusView) page {
	title := "All is well"
	if !v.Ready {
		title = "Not all is well"
	}
	return page{title: title, wide: true, main: g.Group{
		h.H1(g.If(!v.Ready, h.Class("bad")), g.Text(title)),
		h.P(g.Text("This is the Sigstore instance "), h.B(g.Text(v.URL)), running(v)),
		h.Table(h.TBody(g.Map(v.Services, service)...)),
		g.If(len(v.Logs) > 0, g.Group{
			h.H2(g.Text("Logs")),
			h.Table(h.TBody(g.Map(v.Logs, logRow)...)),
		}),
		g.If(v.RootSHA256 != "", g.Group{
			h.H2(g.Text("Trust it")),
			h.Pre(g.Text(addCommand(v.URL, v.RootSHA256))),
			h.P(h.Class("quiet"), g.Text("A page cannot vouch for itself: compare the digests here with what whoever runs this server says by another way.")),
			h.Table(h.TBody(row("root.json", h.Td(h.Class("hash"), g.Text(v.RootSHA256))))),
		}),
		g.If(len(v.Fingerprints) > 0, h.Table(h.TBody(g.Map(v.Fingerprints, fingerprint)...))),
		g.If(len(v.Ends) > 0, g.Group{
			h.H2(g.Text("Good until")),
			h.Table(h.TBody(g.Map(v.Ends, end)...)),
		}),
		h.P(h.Class("quiet"), g.Text("For programs the same as JSON: "), h.Code(g.Text("curl -H 'Accept: application/json' "+v.URL+"/status"))),
	}}
}

// running says which program runs since when.
func running(v StatusView) g.Node {
	text := "."
	if v.Started != nil {
		text = ", up since " + moment(*v.Started) + "."
	}
	if v.Version != "" {
		text = ", run by sigbox " + v.Version + text
	}
	return g.Text(text)
}

// moment writes a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func row(name string, cell g.Node) g.Node { return h.Tr(h.Th(h.Scope("row"), g.Text(name)), cell) }

func service(s StatusLine) g.Node {
	text := s.Text
	if text == "" {
		text = "serving"
	}
	return row(s.Name, h.Td(g.If(s.Bad, h.Class("bad")), g.Text(text)))
}

func logRow(l StatusLog) g.Node {
	text := strconv.FormatUint(l.Size, 10) + " entries"
	if l.Size == 1 {
		text = "1 entry"
	}
	if l.Committed != nil {
		text += ", the last at " + moment(*l.Committed)
	}
	return row(l.Origin, h.Td(g.Text(text)))
}

func fingerprint(s StatusLine) g.Node { return row(s.Name, h.Td(h.Class("hash"), g.Text(s.Text))) }

func end(e StatusEnd) g.Node { return row(e.Name, h.Td(g.Text(moment(e.At)))) }

// addCommand is what to type to trust an instance.
func addCommand(url, rootSHA256 string) string {
	add := "sigbox instance add mine " + url
	if rootSHA256 != "" {
		add += " \\\n    --root-sha256 " + rootSHA256
	}
	return add
}
