// Calls that may use relayed candidates alone, and over what they were relayed.

/** In the page: nothing but relayed candidates is used. The library itself has no word for that. */
export function relayedOnly() {
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(configuration, ...more) {
      super({ ...configuration, iceTransportPolicy: 'relay' }, ...more);
    }
  };
}

/** The selected pair of what is sent and of what is received: what kind our candidate is, and how TURN was reached or else the media. */
export const pairs = (person) => person.page.evaluate(() => Promise.all([window.peer.publisher, ...window.peer.session.streamManagers.filter(({ remote }) => remote)].map(async ({ stream }) => {
  const report = await stream.getRTCPeerConnection().getStats();
  const transport = [...report.values()].find(({ type }) => type === 'transport');
  const { candidateType, relayProtocol, protocol } = report.get(report.get(transport.selectedCandidatePairId).localCandidateId);
  return `${candidateType} ${relayProtocol ?? protocol}`;
})));
