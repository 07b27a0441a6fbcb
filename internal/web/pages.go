package web

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"github.com/sigbox/sigbox/internal/oidc"
)

// page is what differs between pages.
type page struct {
	title string
	wide  bool
	main  g.Group
}

// document draws the page with all that is around it.
func (p page) document(name string) g.Node {
	return h.Doctype(h.HTML(h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			h.Meta(h.Name("robots"), h.Content("noindex")),
			h.TitleEl(g.Text(p.title+" · "+name)),
			h.Link(h.Rel("icon"), h.Href(icon)),
			h.StyleEl(g.Raw(style)), // our own file
		),
		h.Body(g.If(p.wide, h.Class("wide")),
			h.Header(
				logo(),
				h.Span(h.Class("brand"), g.Text("sigbox")),
				h.Span(h.Class("name"), g.Text(name)),
			),
			h.Main(p.main),
		),
	))
}

const icon = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E" +
	"%3Cpath d='M12 2 21 7v10l-9 5-9-5V7z' fill='%234f46e5'/%3E" +
	"%3Cpath d='m8 12 3 3 5-6' fill='none' stroke='%23fff' stroke-width='2.2'/%3E%3C/svg%3E"

func logo() g.Node {
	return h.SVG(g.Attr("viewBox", "0 0 24 24"), h.Width("28"), h.Height("28"), h.Aria("hidden", "true"),
		g.El("path", h.Class("logo"), g.Attr("d", "M12 2 21 7v10l-9 5-9-5V7z")),
		g.El("path", h.Class("tick"), g.Attr("d", "m8 12 3 3 5-6")),
	)
}

func login(v oidc.LoginView, listener string) page {
	content := g.Group{
		h.H1(g.Text("Sign in")),
		whoAsks(v, listener),
		h.P(h.Class("quiet"), g.Text("It learns your name and email address, and can sign as you for some minutes.")),
		problem(v.Problem),
	}
	switch {
	case v.Person != nil:
		content = append(content, consent(v))
	case len(v.Connectors) == 0 || v.Accounts:
		content = append(content, connectors(v), password(v))
	default:
		content = append(content, connectors(v), buttons(v, nil))
	}
	return page{title: "Sign in", main: content}
}

// connectors links to the providers at which people may sign in.
func connectors(v oidc.LoginView) g.Node {
	return g.If(len(v.Connectors) > 0, h.Div(h.Class("connectors"), g.Map(v.Connectors, func(c oidc.ConnectorLink) g.Node {
		return h.A(h.Class("button"), h.Href(ownPath(c.Path)), g.Text("Sign in with "+c.Title))
	})))
}

// password asks for an address and a password.
func password(v oidc.LoginView) g.Node {
	return buttons(v, g.Group{
		h.Label(h.For("email"), g.Text("Email address")),
		h.Input(h.ID("email"), h.Name("email"), h.Type("email"), h.MaxLength("254"), h.AutoComplete("username"),
			g.Attr("spellcheck", "false"), h.Required(), h.Value(v.Email), g.If(v.Email == "", h.AutoFocus())),
		h.Label(h.For("password"), g.Text("Password")),
		h.Input(h.ID("password"), h.Name("password"), h.Type("password"), h.MaxLength("1024"), h.AutoComplete("current-password"),
			h.Required(), g.If(v.Email != "", h.AutoFocus())),
	}, h.Button(h.Name("action"), h.Value("allow"), g.Text("Sign in and allow")))
}

// consent asks whether the program may act in the name of who has signed in.
func consent(v oidc.LoginView) g.Node {
	return buttons(v, h.P(g.Text("You are "), h.B(g.Text(v.Person.Email)), g.Text(", signed in with "), h.B(g.Text(v.Person.At)), g.Text(".")),
		h.Button(h.Name("action"), h.Value("allow"), h.AutoFocus(), g.Text("Allow")))
}

// buttons is the form of the login page: what is to be filled in, and how to end.
func buttons(v oidc.LoginView, fields g.Node, first ...g.Node) g.Node {
	return form(v.Action,
		hidden("id", v.ID),
		hidden("csrf", v.CSRF),
		fields,
		h.Div(h.Class("buttons"), g.Group(first),
			h.Button(h.Name("action"), h.Value("deny"), h.Class("second"), h.FormNoValidate(), g.Text("Deny")),
		),
	)
}

// whoAsks says which program wants the login, and what to beware of. The listener
// is the program's host and port, "" if it does not listen.
func whoAsks(v oidc.LoginView, listener string) g.Node {
	client := h.B(g.Text(v.Client))
	switch {
	case v.Device != nil:
		return g.Group{
			h.P(
				g.Text("A program that calls itself "), client, g.Text(" asks to act in your name. It began "+ago(v.Device.Age)),
				g.If(v.Device.Address != "", g.Group{g.Text(" at the address "), h.B(g.Text(v.Device.Address))}),
				g.Text(", and it shows this code:"),
			),
			h.P(h.Class("code"), g.Text(v.Device.UserCode)),
			h.P(h.Class("warn"), g.Text("Do you not see this code in a program that you started yourself? Then deny: somebody wants to sign as you.")),
		}
	case listener != "":
		return h.P(
			g.Text("A program on your computer, which calls itself "), client,
			g.Text(" and listens at "), h.B(g.Text(listener)), g.Text(", asks to act in your name."),
		)
	default:
		return g.Group{
			h.P(g.Text("A program that calls itself "), client, g.Text(" asks to act in your name. You will get a code to copy into it.")),
			h.P(h.Class("warn"), g.Text("Go on only if you started this yourself. Whoever gets the code may sign as you.")),
		}
	}
}

// ago says roughly how long ago something was.
func ago(d time.Duration) string {
	switch minutes := int(d.Minutes()); minutes {
	case 0:
		return "less than a minute ago"
	case 1:
		return "a minute ago"
	default:
		return fmt.Sprintf("%d minutes ago", minutes)
	}
}

func device(v oidc.DeviceView) page {
	return page{title: "Enter the code", main: g.Group{
		h.H1(g.Text("Enter the code")),
		h.P(g.Text("Your program shows a code of eight letters. It must be the same as the one here.")),
		problem(v.Problem),
		form(v.Action,
			hidden("csrf", v.CSRF),
			h.Label(h.For("user_code"), g.Text("Code")),
			h.Input(h.ID("user_code"), h.Name("user_code"), h.Class("code"), h.MaxLength("16"), h.AutoComplete("off"),
				g.Attr("autocapitalize", "characters"), g.Attr("spellcheck", "false"), h.Placeholder("XXXX-XXXX"), h.Required(), h.Value(v.UserCode), h.AutoFocus()),
			h.Div(h.Class("buttons"), h.Button(g.Text("Next"))),
		),
		h.P(h.Class("warn"), g.Text("Did somebody send you this code? Then close this page: they want to sign as you.")),
	}}
}

func message(v oidc.MessageView) page {
	return page{title: v.Title, main: g.Group{
		h.H1(g.If(v.Bad, h.Class("bad")), g.Text(v.Title)),
		g.If(v.Code != "", h.P(h.Class("code long"), g.Text(v.Code))),
		h.P(g.Text(v.Text)),
	}}
}

func front(v FrontView) page {
	return page{title: "A private Sigstore", wide: true, main: g.Group{
		h.H1(g.Text("A private Sigstore")),
		h.P(g.Text("This server issues short-lived certificates for people and programs who sign, records what was signed in a transparency log, " +
			"and gives time stamps. Whoever trusts it can check the signatures. It speaks Sigstore's own protocols: " +
			"use sigbox, or cosign, or any other client.")),
		h.H2(g.Text("Trust it")),
		h.Pre(g.Text(addCommand(v.URL, v.RootSHA256))),
		h.P(h.Class("quiet"), g.Text("A page cannot vouch for itself: get the root's digest, or the file "), h.Code(g.Text("root.json")),
			g.Text(", from whoever runs this server, by another way.")),
		h.Details(h.Summary(g.Text("With cosign")),
			h.Pre(g.Text("cosign initialize --mirror "+v.URL+"/tuf --root root.json"))),
		h.Details(h.Summary(g.Text("With sigstore-python")),
			h.Pre(g.Text("sigstore --instance "+v.URL+" trust-instance root.json"))),
		h.H2(g.Text("Sign and verify")),
		h.Pre(g.Text("sigbox sign --instance mine FILE\n" +
			"sigbox verify --instance mine FILE \\\n" +
			"    --certificate-identity you@example.org \\\n" +
			"    --certificate-oidc-issuer " + v.URL + "/oidc")),
		h.H2(g.Text("What is here")),
		h.Ul(h.Class("links"),
			h.Li(link("/root.json", "/root.json"), g.Text(" the root to trust")),
			h.Li(link("/tuf/timestamp.json", "/tuf/"), g.Text(" the TUF repository")),
			h.Li(link("/api/v2/trustBundle", "/api/v2/trustBundle"), g.Text(" the CA's certificates")),
			h.Li(link("/api/v1/timestamp/certchain", "/api/v1/timestamp/certchain"), g.Text(" the time-stamp authority's")),
			h.Li(link("/oidc/.well-known/openid-configuration", "/oidc"), g.Text(" the OpenID provider")),
			h.Li(link("/status", "/status"), g.Text(" how it is")),
		),
	}}
}

// form is a form that posts to a path of this server.
func form(action string, fields ...g.Node) g.Node {
	return h.Form(h.Method("post"), h.Action(ownPath(action)), g.Group(fields))
}

// ownPath gives a URL that a browser cannot take for another server's or for a
// script: a path, or else "#", which is the page itself.
func ownPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return "#"
	}
	return u.String()
}

func hidden(name, value string) g.Node {
	return h.Input(h.Type("hidden"), h.Name(name), h.Value(value))
}

func problem(text string) g.Node {
	return g.If(text != "", h.P(h.Class("problem"), h.Role("alert"), g.Text(text)))
}

func link(path, text string) g.Node { return h.A(h.Href(path), g.Text(text)) }
