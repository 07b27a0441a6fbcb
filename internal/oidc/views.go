package oidc

import (
	"net/http"
	"time"
)

// Pages draws what people see. Each method writes a whole response, its status
// and its security headers included; internal/web implements it.
type Pages interface {
	// Login asks for address and password, and for consent.
	Login(w http.ResponseWriter, status int, v LoginView)
	// Device asks for the code that a program shows.
	Device(w http.ResponseWriter, status int, v DeviceView)
	// Message says how something ended.
	Message(w http.ResponseWriter, status int, v MessageView)
}

// LoginView is the login and consent page.
type LoginView struct {
	// Action is where the form goes, with the hidden fields "id" and "csrf", the
	// fields "email" and "password", and the buttons "action" of value "allow"
	// and "deny".
	Action, ID, CSRF string
	// Email is what was typed before, or what the program proposed.
	Email string
	// Client is the ID under which the program presents itself. Anybody may use it.
	Client string
	// Redirect is where the program listens, "" if it does not; a browser must be
	// allowed to go there after the form.
	Redirect string
	// Device is set when another device waits for the login.
	Device *DeviceRequest
	// Accounts says that people may sign in with an address and a password.
	Accounts bool
	// Connectors are where they may sign in besides.
	Connectors []ConnectorLink
	// Person is set when somebody has signed in at a connector: then there is
	// nothing to fill in, and the buttons alone are left.
	Person *Person
	// Problem is what went wrong with the last try, or "".
	Problem string
}

// ConnectorLink is a provider at which people may sign in.
type ConnectorLink struct {
	// Title is its name for people, Path where a link to it goes.
	Title, Path string
}

// Person is somebody who has signed in at a connector.
type Person struct {
	// Email is their address, At the connector's title.
	Email, At string
}

// DeviceRequest is what is known of a program that waits for a login elsewhere.
type DeviceRequest struct {
	// UserCode is the code that it shows.
	UserCode string
	// Address is where it asked from.
	Address string
	// Age is how long ago it asked.
	Age time.Duration
}

// DeviceView is the page for the code of a program that waits for a login.
type DeviceView struct {
	// Action is where the form goes, with the hidden field "csrf" and "user_code".
	Action, CSRF string
	// UserCode is what was typed before, or what the link proposed.
	UserCode string
	// Problem is what went wrong with the last try, or "".
	Problem string
}

// MessageView is a page that says how something ended.
type MessageView struct {
	Title, Text string
	// Code is to be copied into a program, or "".
	Code string
	// Bad is set for errors.
	Bad bool
}
