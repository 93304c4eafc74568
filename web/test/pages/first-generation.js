// A person in a call on the unmodified openvidu-browser 1.x: the application of its tutorials.

class FirstPeer {
  /** Every event with the id of the connection or the stream it is about. */
  events = [];
  /** Pictures shown of each stream of others, by stream id. */
  frames = {};

  join({ url, token, publish }) {
    this.openvidu = new OpenVidu();
    this.session = this.openvidu.initSession(url);
    for (const name of ['connectionCreated', 'connectionDestroyed', 'streamDestroyed']) {
      this.session.on(name, (event) => this.#note(name, event.connection?.connectionId ?? event.stream?.connection?.connectionId));
    }
    this.session.on('streamCreated', (event) => {
      this.#note('streamCreated', event.stream.connection.connectionId);
      this.#watch(event.stream);
    });
    this.session.on('signal:chat', (event) => this.#note('signal', event.data));
    return new Promise((resolve, reject) => {
      this.session.connect(token, '{}', (error) => {
        if (error) reject(new Error(typeof error === 'string' ? error : JSON.stringify(error)));
        else resolve(publish ? this.#publish() : undefined);
      });
    });
  }

  #note(name, of) {
    this.events.push({ name, of });
  }

  #publish() {
    this.publisher = this.openvidu.initPublisher('own', { audio: true, video: true, quality: 'LOW' });
    this.session.publish(this.publisher);
  }

  #watch(stream) {
    const known = new Set(document.querySelectorAll('video'));
    this.session.subscribe(stream, 'others');
    this.frames[stream.streamId ?? stream.connection.connectionId] = 0;
    // The library makes the element when the picture comes.
    const look = () => {
      const video = [...document.querySelectorAll('#others video')].find((one) => !known.has(one));
      if (!video) return requestAnimationFrame(look);
      const seen = () => {
        this.frames[stream.streamId ?? stream.connection.connectionId] += 1;
        video.requestVideoFrameCallback(seen);
      };
      return video.requestVideoFrameCallback(seen);
    };
    look();
  }

  signal(data) {
    this.session.signal({ type: 'chat', data, to: [] });
  }

  leave() {
    this.session.disconnect();
  }
}

window.peer = new FirstPeer();
