package devserver

// Publish sends a message from within the process, as a client's PUBLISH
// does, and returns how many clients it was handed to.
func (s *Server) Publish(channel string, data []byte) int {
	return s.redis.Publish(channel, string(data))
}

// Listeners returns how many clients have subscribed to the channel.
func (s *Server) Listeners(channel string) int {
	return s.redis.PubSubNumSub(channel)[channel]
}
