// Package message reads and writes the messages of the FOGIS services.
//
// [Decode] takes every envelope that those services send or accept, whatever
// its age, and [As] turns its payload into a [MatchUpdates], a
// [ProcessingStatus], a [SystemAlert] or a type of your own. [AppendEncode]
// writes the one form that all of today's receivers understand.
//
// Nothing of a match is lost on the way through: its JSON stays beside the
// view of it (see [Match]) and is written again byte for byte.
//
// Messages hold names, addresses and telephone numbers. No type of this
// package shows them when it is printed with package fmt or logged with
// log/slog, and no error quotes what a message holds. Slices of these types
// are an exception for slog's JSON handler, which marshals them: log the
// [MatchUpdates], or the number of matches.
package message
