package cli

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// dsnPassword is a password in a DSN of key=value pairs.
var dsnPassword = regexp.MustCompile(`(?i)(\b\w*password\s*=\s*)('(\\.|[^'])*'|\S+)`)

// withoutPasswords is a command line as it may be shown to anybody: URLs lose
// their passwords, and DSNs the values that are called one (promise 10).
func withoutPasswords(args []string) []string {
	shown := []string{"nodestore-migrate"}
	for _, arg := range args {
		name, value, assigned := strings.Cut(arg, "=")
		if !assigned || !strings.HasPrefix(arg, "--") {
			shown = append(shown, withoutPassword(arg))
			continue
		}
		shown = append(shown, name+"="+withoutPassword(value))
	}
	return shown
}

func withoutPassword(text string) string {
	if !strings.Contains(text, "://") {
		return dsnPassword.ReplaceAllString(text, "${1}***")
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if !strings.Contains(part, "://") { // the comma stands inside a URL
			return urlWithoutPassword(text)
		}
		parts[i] = urlWithoutPassword(part)
	}
	return strings.Join(parts, ",")
}

func urlWithoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || u.User == nil && strings.Contains(text, "@") || strings.Contains(u.Path+u.RawQuery, "@") {
		scheme, _, _ := strings.Cut(text, "://")
		return scheme + "://***" // whatever cannot be taken apart is not shown
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	for key := range query {
		if strings.Contains(strings.ToLower(key), "password") {
			query.Set(key, "***")
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// passwordShown says whether a command line holds a password, which anybody on the
// machine can read in its list of processes.
func passwordShown(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		if !strings.Contains(arg, "://") {
			return dsnPassword.MatchString(arg)
		}
		_, userinfo, _ := strings.Cut(arg, "://")
		userinfo, _, named := strings.Cut(userinfo, "@")
		return named && strings.Contains(userinfo, ":") && !strings.Contains(userinfo, "/") || strings.Contains(arg, "password=")
	})
}
