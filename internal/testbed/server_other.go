//go:build !linux

package testbed

import "syscall"

// setDeathSignal does nothing: only Linux can tie a child's life to ours.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}
