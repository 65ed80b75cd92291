//go:build nodemo

package cli

type demoVerb struct{}
