/**
 * The far end of a call for layout checks: a second page in the same browser answers the offer with a real peer connection,
 * shows moving pictures in the receive slots and speaks on the control channel. It forwards nothing.
 */

/** Runs in the page: answers an offer and plays `people` ([{participant, sources}]). */
function answerOffer(offer, script) {
  const paint = (label, hue, screen) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 360];
    const pen = canvas.getContext("2d");
    let n = 0;
    setInterval(() => {
      n += 1;
      const shade = pen.createLinearGradient(0, 0, 640, 360);
      shade.addColorStop(0, `hsl(${hue} 35% ${screen ? 96 : 62}%)`);
      shade.addColorStop(1, `hsl(${hue + 40} 40% ${screen ? 88 : 30}%)`);
      pen.fillStyle = shade;
      pen.fillRect(0, 0, 640, 360);
      if (screen) {
        pen.fillStyle = "#24403c";
        for (let line = 0; line < 7; line += 1) pen.fillRect(60, 60 + line * 36, 300 + ((line * 97) % 200), 12);
      } else {
        pen.fillStyle = `hsl(${hue} 30% 80%)`;
        pen.beginPath();
        pen.arc(320 + 10 * Math.sin(n / 20), 150, 62, 0, 7);
        pen.fill();
        pen.beginPath();
        pen.ellipse(320 + 10 * Math.sin(n / 20), 340, 140, 110, 0, 0, 7);
        pen.fill();
      }
      pen.fillText(`${label} ${n}`, 10, 20);
    }, 40);
    return canvas.captureStream(25).getVideoTracks()[0];
  };
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  window.far = { pc, received: [] };
  pc.ondatachannel = ({ channel }) => {
    window.far.channel = channel;
    const say = (message) => channel.send(JSON.stringify(message));
    const start = () => {
      say({ type: "welcome", participant: script.you, room: "r1", epoch: 1, heartbeat_ms: 500 });
      say({ type: "roster", participants: [{ participant: script.you, tracks: [] }, ...script.people.map(({ participant, sources }) => ({ participant, tracks: sources.map((source) => ({ source, active: true })) }))] });
      say({ type: "slots", audio: [null, null, null, null, null, null], video: window.far.slots });
      if (script.speaker) say({ type: "speaker", participant: script.speaker });
      say({ type: "quality", estimate_bps: 2_500_000, loss_ratio: 0.001, rtt_ms: 14, state: script.quality ?? "good" });
    };
    channel.onopen = start;
    if (channel.readyState === "open") start();
    channel.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ping") say({ type: "pong", t: message.t });
      else window.far.received.push(message);
    };
  };
  return (async () => {
    await pc.setRemoteDescription({ type: "offer", sdp: offer });
    const slots = pc.getTransceivers().slice(9, 15);
    const shown = script.people.flatMap(({ participant, sources }) => sources.filter((source) => source !== "mic").map((source) => ({ participant, source })));
    window.far.slots = slots.map((slot, index) => (shown[index] ? { mid: slot.mid, ...shown[index] } : null));
    shown.forEach(({ participant, source }, index) => {
      slots[index].direction = "sendonly";
      slots[index].sender.replaceTrack(paint(participant, 20 + index * 110, source === "screen"));
    });
    await pc.setLocalDescription(await pc.createAnswer());
    if (pc.iceGatheringState !== "complete") await new Promise((done) => { pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done(); });
    return pc.localDescription.sdp;
  })();
}

/** Routes the WHIP requests of `page` to `edge`, a blank page of the same browser. */
export async function attachEdge(page, edge, script, origin = "http://edge.invalid") {
  const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*", "Access-Control-Expose-Headers": "*" };
  await page.route(`${origin}/**`, async (route) => {
    const request = route.request();
    if (request.method() !== "POST") return route.fulfill({ status: 204, headers: cors });
    const answer = await edge.evaluate(`(${answerOffer})(${JSON.stringify(request.postData())}, ${JSON.stringify(script)})`);
    await route.fulfill({ status: 201, headers: { ...cors, Location: "/v1/whip/1", "Content-Type": "application/sdp" }, body: answer });
  });
}
