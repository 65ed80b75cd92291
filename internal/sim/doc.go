// Package sim holds the simulator: tests that play Sentry against real servers,
// from a seed, while the tool runs and is killed, and that compare what Sentry
// then sees of every id ever used with a model that knows nothing of the tool.
// It shows promises 2 (one copy), 3 (byte for byte), 4 (the checkpoint never
// runs ahead), 5 (nothing newer is overwritten), 7 (settings are borrowed), 11
// (safe is never wrong), 12 (nothing of Sentry's is removed) and 13 (an answer
// that is not whole is not an answer).
//
// A history is data: a list of steps with a clock of its own, so that several
// days pass in a second, and so that a failing one can be cut down to the
// shortest that still fails.
package sim
