// OpenVocab3D.cs - libopenvocab3d from C#: P/Invoke with safe handles and blittable structs, fit for Unity and IL2CPP.
//
// Copy this file and Native.cs into your project, and the library beside it (Unity: Assets/Plugins/x86_64/). Errors are
// thrown as OpenVocab3DException with the library's message. openvocab3d.h is the manual: what it says about threads,
// units and statuses holds here. Compile with unsafe code allowed.

using System;
using System.Runtime.InteropServices;

namespace OpenVocab3D
{
    public sealed class OpenVocab3DException : Exception
    {
        public readonly int Status;

        internal OpenVocab3DException(int status, string message) : base(message) { Status = status; }
    }

    // What the axes of a cloud are.
    public enum Axes
    {
        RightHandedZUp = 0,
        LeftHandedZUp = 1,
        RightHandedYUp = 2,
        // Unity.
        LeftHandedYUp = 3,
        Camera = 4,
    }

    // A trained network. Any thread; sessions keep what they use, so dispose of it as soon as you like.
    public sealed class Model : Handle
    {
        internal Model(IntPtr made) : base(made) { }

        public static Model Load(string path)
        {
            Native.CheckInterface();
            IntPtr model;
            Native.Check(Native.ov3d_model_load(Native.Utf8(path), IntPtr.Zero, out model));
            return new Model(model);
        }

        protected override bool ReleaseHandle()
        {
            Native.ov3d_model_free(handle);
            return true;
        }
    }

    // CLIP's tokeniser and a text tower: a safetensors file, or the folder of model.safetensors. Any thread; vocabularies
    // made with it do not need it any more.
    public sealed class TextEncoder : Handle
    {
        internal TextEncoder(IntPtr made) : base(made) { }

        // `threads` 0 takes all of the machine's: leave some to the game.
        public static TextEncoder Load(string path, int threads = 0)
        {
            Native.CheckInterface();
            var desc = new Native.TextEncoderDesc();
            Native.ov3d_text_encoder_desc_init(ref desc, Native.SizeOf<Native.TextEncoderDesc>());
            desc.Threads = checked((uint)threads);
            IntPtr encoder;
            Native.Check(Native.ov3d_text_encoder_load(Native.Utf8(path), ref desc, out encoder));
            return new TextEncoder(encoder);
        }

        protected override bool ReleaseHandle()
        {
            Native.ov3d_text_encoder_free(handle);
            return true;
        }
    }

    // Labels with their text embeddings. Any thread.
    public sealed class Vocabulary : Handle
    {
        internal Vocabulary(IntPtr made) : base(made) { }

        public static Vocabulary Load(string path)
        {
            Native.CheckInterface();
            IntPtr vocabulary;
            Native.Check(Native.ov3d_vocabulary_load(Native.Utf8(path), out vocabulary));
            return new Vocabulary(vocabulary);
        }

        // Words in the encoder's text space, put into the published template "a {} in a scene".
        public static Vocabulary FromTexts(TextEncoder encoder, params string[] texts)
        {
            return Native.WithTexts(texts, pointers =>
            {
                IntPtr vocabulary;
                Native.Check(Native.ov3d_vocabulary_from_texts(encoder, pointers, (UIntPtr)(uint)pointers.Length,
                                                               IntPtr.Zero, out vocabulary));
                return new Vocabulary(vocabulary);
            });
        }

        // Some of the labels of `source`, by name: words without an encoder.
        public static Vocabulary FromNames(Vocabulary source, params string[] names)
        {
            return Native.WithTexts(names, pointers =>
            {
                IntPtr vocabulary;
                Native.Check(Native.ov3d_vocabulary_from_names(source, pointers, (UIntPtr)(uint)pointers.Length,
                                                               IntPtr.Zero, out vocabulary));
                return new Vocabulary(vocabulary);
            });
        }

        // Number of labels.
        public int Count { get { return (int)Native.ov3d_vocabulary_size(this); } }

        // Name of a label; null for -1, the label of points whose position is not finite.
        public string Name(int label)
        {
            string name = label < 0 ? null : Native.Text(Native.ov3d_vocabulary_name(this, (UIntPtr)(uint)label));
            GC.KeepAlive(this);
            return name;
        }

        protected override bool ReleaseHandle()
        {
            Native.ov3d_vocabulary_free(handle);
            return true;
        }
    }

    // One model on one device. One call at a time; Cancel may come from another thread.
    public sealed class Session : Handle
    {
        internal Session(IntPtr made) : base(made) { }

        // `threads` 0 takes all of the machine's: leave some to the game.
        public static Session Create(Model model, int threads = 0)
        {
            var desc = new Native.SessionDesc();
            Native.ov3d_session_desc_init(ref desc, Native.SizeOf<Native.SessionDesc>());
            desc.Threads = checked((uint)threads);
            IntPtr session;
            Native.Check(Native.ov3d_session_create(model, ref desc, out session));
            return new Session(session);
        }

        public void SetVocabulary(Vocabulary vocabulary)
        {
            Native.Check(Native.ov3d_session_set_vocabulary(this, vocabulary));
        }

        // Labels packed x y z floats, which are pinned meanwhile and not copied.
        public unsafe Result Segment(float[] positions, Axes axes, double unitInMetres = 1.0)
        {
            fixed (float* first = positions)
            {
                return Segment((IntPtr)first, positions.Length / 3, 3 * sizeof(float), axes, unitInMetres);
            }
        }

        // Labels `count` positions of three floats, `strideBytes` apart: a NativeArray's pointer, or records in memory.
        public Result Segment(IntPtr first, int count, int strideBytes, Axes axes, double unitInMetres = 1.0)
        {
            var cloud = new Native.Cloud();
            Native.ov3d_cloud_init(ref cloud, Native.SizeOf<Native.Cloud>());
            cloud.Count = checked((ulong)count);
            cloud.Positions.Data = first;
            cloud.Positions.StrideBytes = checked((ulong)strideBytes);
            cloud.Positions.Dtype = Native.DtypeF32;
            cloud.Positions.Components = 3;
            cloud.UnitInMetres = unitInMetres;
            cloud.Axes = (int)axes;
            IntPtr result;
            Native.Check(Native.ov3d_segment(this, ref cloud, IntPtr.Zero, out result));
            return new Result(result);
        }

        // Asks the call in flight, if any, to stop.
        public void Cancel()
        {
            Native.Check(Native.ov3d_session_cancel(this));
        }

        protected override bool ReleaseHandle()
        {
            Native.ov3d_session_free(handle);
            return true;
        }
    }

    // Labels and scores. Any thread; outlives its session.
    public sealed class Result : Handle
    {
        internal Result(IntPtr made) : base(made) { }

        // The label of each point, as a copy; -1 where the position is not finite.
        public int[] Labels()
        {
            Native.ResultView view = View();
            var labels = new int[checked((int)view.Points)];
            if (labels.Length > 0) Marshal.Copy(view.Labels, labels, 0, labels.Length);
            GC.KeepAlive(this);
            return labels;
        }

        // The score of each point's label, as a copy.
        public float[] Scores()
        {
            Native.ResultView view = View();
            var scores = new float[checked((int)view.Points)];
            if (scores.Length > 0) Marshal.Copy(view.Scores, scores, 0, scores.Length);
            GC.KeepAlive(this);
            return scores;
        }

        // Number of points.
        public int Count { get { return checked((int)View().Points); } }

        // The labels where the library has them, `Count` ints that live until this is disposed of.
        public IntPtr LabelsPointer { get { return View().Labels; } }

        private Native.ResultView View()
        {
            var view = new Native.ResultView();
            Native.ov3d_result_view_init(ref view, Native.SizeOf<Native.ResultView>());
            Native.Check(Native.ov3d_result_get(this, ref view));
            return view;
        }

        protected override bool ReleaseHandle()
        {
            Native.ov3d_result_free(handle);
            return true;
        }
    }

    // Owns one object of the library. The library survives double frees and stale handles, so finalisers of a domain
    // that is reloaded do no harm.
    public abstract class Handle : SafeHandle
    {
        internal Handle(IntPtr made) : base(IntPtr.Zero, true) { SetHandle(made); }

        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }
    }
}
