package message

// Type names what a message says. It stands in the envelope's "type" and is
// open: a type unknown to this package is passed on, not refused.
type Type string

// The three types of the FOGIS services.
const (
	TypeMatchUpdates     Type = "match_updates"
	TypeProcessingStatus Type = "processing_status"
	TypeSystemAlert      Type = "system_alert"
)

// The channels on which both Python services meet. Other names in old
// documents ("match_updates_v2", "fogis_matches") have no listener there.
const (
	ChannelMatchUpdates     = "fogis:matches:updates"
	ChannelProcessingStatus = "fogis:processor:status"
	ChannelSystemAlerts     = "fogis:system:alerts"
)

// Types returns the types that have a default channel. Whatever works on "all
// types" goes by it.
func Types() []Type { return []Type{TypeMatchUpdates, TypeProcessingStatus, TypeSystemAlert} }

// DefaultChannel returns the channel that carries t when no other is
// configured, or "" for a type that has none.
func (t Type) DefaultChannel() string {
	switch t {
	case TypeMatchUpdates:
		return ChannelMatchUpdates
	case TypeProcessingStatus:
		return ChannelProcessingStatus
	case TypeSystemAlert:
		return ChannelSystemAlerts
	}
	return ""
}
