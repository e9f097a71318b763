// Package peers runs small Python programs that stand for the Python services
// of FOGIS in tests: one publishes as they do, one reads as the calendar does.
// The calendar's HTTP side is a program of package httpfallback's tests, which
// [StartManualSync] runs as well.
//
// They are written from docs/wire.md and keep the services' weaknesses, which
// the tests are about.
package peers
