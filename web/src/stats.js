// One look at a peer connection, in the units people read: pixels, frames a second, kbit/s, milliseconds.

const PERIOD_MIN_MS = 250;

/** Bitrates need two looks; the sampler keeps the earlier one per stream. */
export class Sampler {
  #earlier = new Map();

  async sample(stream) {
    const connection = stream?.getRTCPeerConnection?.();
    if (!connection || connection.connectionState === 'closed') return null;
    const report = [...(await connection.getStats()).values()];
    const sum = summary(report, stream.isLocal());
    this.#addRates(stream.streamId, connection, sum);
    return sum;
  }

  forget(streamId) {
    this.#earlier.delete(streamId);
  }

  #addRates(id, connection, sum) {
    const now = performance.now();
    const before = this.#earlier.get(id);
    for (const kind of ['audio', 'video']) {
      if (sum[kind]) sum[kind].kbps = before?.sum[kind]?.kbps ?? 0;
      if (!sum[kind] || !before?.sum[kind] || before.connection !== connection) continue;
      const period = now - before.at;
      if (period < PERIOD_MIN_MS) continue;
      sum[kind].kbps = Math.max(0, Math.round(((sum[kind].bytes - before.sum[kind].bytes) * 8) / period));
    }
    if (!before || before.connection !== connection || now - before.at >= PERIOD_MIN_MS) {
      this.#earlier.set(id, { at: now, sum, connection });
    }
  }
}

function summary(report, local) {
  const byId = new Map(report.map((one) => [one.id, one]));
  const flows = report.filter((one) => one.type === (local ? 'outbound-rtp' : 'inbound-rtp'));
  const one = (kind) => flows.find((flow) => flow.kind === kind && (flow.packetsSent || flow.packetsReceived)) ??
    flows.find((flow) => flow.kind === kind);
  return {
    audio: audioOf(one('audio'), byId, local),
    video: videoOf(one('video'), byId, report),
    transport: transportOf(report, byId),
  };
}

function audioOf(flow, byId, local) {
  if (!flow) return null;
  const source = local ? byId.get(flow.mediaSourceId) : flow;
  return {
    bytes: flow.bytesSent ?? flow.bytesReceived ?? 0,
    packets: flow.packetsSent ?? flow.packetsReceived ?? 0,
    lost: flow.packetsLost ?? 0,
    level: source?.audioLevel ?? 0,
    energy: source?.totalAudioEnergy ?? 0,
    codec: codecName(byId.get(flow.codecId)),
  };
}

function videoOf(flow, byId, report) {
  if (!flow) return null;
  const far = report.find((one) => one.type === 'remote-inbound-rtp' && one.kind === 'video');
  return {
    bytes: flow.bytesSent ?? flow.bytesReceived ?? 0,
    packets: flow.packetsSent ?? flow.packetsReceived ?? 0,
    lost: flow.packetsLost ?? far?.packetsLost ?? 0,
    width: flow.frameWidth ?? 0,
    height: flow.frameHeight ?? 0,
    fps: Math.round(flow.framesPerSecond ?? 0),
    frames: flow.framesDecoded ?? flow.framesEncoded ?? 0,
    jitterMs: Math.round((flow.jitter ?? 0) * 1000),
    freezes: flow.freezeCount ?? 0,
    limited: flow.qualityLimitationReason ?? 'none',
    codec: codecName(byId.get(flow.codecId)),
  };
}

function transportOf(report, byId) {
  const transport = report.find((one) => one.type === 'transport');
  const pair = byId.get(transport?.selectedCandidatePairId);
  const far = byId.get(pair?.remoteCandidateId);
  return {
    dtls: transport?.dtlsState ?? '',
    srtpCipher: transport?.srtpCipher ?? '',
    rttMs: Math.round((pair?.currentRoundTripTime ?? 0) * 1000),
    availableKbps: Math.round((pair?.availableOutgoingBitrate ?? 0) / 1000),
    remote: far ? `${far.address ?? far.ip}:${far.port}` : '',
    protocol: far?.protocol ?? '',
  };
}

const codecName = (codec) => codec?.mimeType?.split('/')[1] ?? '';

/** The lines of a tile's overlay. */
export function overlayLines(sum, local) {
  if (!sum) return ['no media'];
  const lines = [];
  const { video, audio, transport } = sum;
  if (video) {
    lines.push(`${video.width}×${video.height}  ${video.fps} fps  ${video.codec}`);
    lines.push(`${video.kbps} kbit/s  lost ${video.lost}` + (local ? `  limit: ${video.limited}` : `  jitter ${video.jitterMs} ms`));
  }
  if (audio) lines.push(`${audio.codec} ${audio.kbps} kbit/s  lost ${audio.lost}`);
  lines.push(`${transport.remote || '–'}  rtt ${transport.rttMs} ms`);
  lines.push(transport.srtpCipher || transport.dtls);
  return lines;
}
