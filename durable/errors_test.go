package durable

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// answer is an error that a server sends.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// What servers say of a right that a script lacks, as each version says it.
func TestFail_forbiddenInScript(t *testing.T) {
	t.Parallel()
	for version, text := range map[string]string{
		"Redis 6.2":             "ERR Error running script (call to f_1ada): @user_script:15: @user_script: 15: The user executing the script can't run this command or subcommand",
		"Redis 7.0":             "The user executing the script can't run this command or subcommand script: 1ada, on @user_script:15.",
		"Redis 8 and Valkey 8":  "ERR ACL failure in script: User limited has no permissions to run the 'xack' command script: 1ada, on @user_script:15.",
		"outside of any script": "NOPERM this user has no permissions to run the 'xack' command",
	} {
		e := fail("ack", "fogis:matches:updates", "calendar", readerRights, answer(text))
		require.True(t, e.Refused, version)
		require.ErrorContains(t, e, "NOPERM", version)
		require.ErrorContains(t, e, "+xack", version)
		require.ErrorContains(t, e, text, version)
	}
}
