// Hello.cs - label a cloud from C#, in Unity's axes: x right, y up, z forward.

using System;
using OpenVocab3D;

internal static class Hello
{
    // Floor and two walls of a room corner, 4 m wide; replace it by your own points.
    private static float[] MakePoints()
    {
        var positions = new float[3 * 6000];
        var xyz = new float[3];
        for (int i = 0; i < 6000; i++)
        {
            xyz[i % 3] = i * 37 % 1024 / 256.0f;
            xyz[(i + 1) % 3] = i * 101 % 1021 / 256.0f;
            xyz[(i + 2) % 3] = 0.0f;
            positions[3 * i] = xyz[0];
            positions[3 * i + 1] = xyz[2]; // up
            positions[3 * i + 2] = xyz[1];
        }
        return positions;
    }

    private static void Run(string modelPath, string vocabularyPath)
    {
        using (Model model = Model.Load(modelPath))
        using (Vocabulary vocabulary = Vocabulary.Load(vocabularyPath))
        using (Session session = Session.Create(model))
        {
            session.SetVocabulary(vocabulary);
            using (Result result = session.Segment(MakePoints(), Axes.LeftHandedYUp))
            {
                Print(vocabulary, result.Labels());
            }
        }
    }

    // How many points got each label, and a number that is equal where all labels are.
    private static void Print(Vocabulary vocabulary, int[] labels)
    {
        for (int label = 0; label < vocabulary.Count; label++)
        {
            int count = Array.FindAll(labels, l => l == label).Length;
            Console.WriteLine("{0}: {1} points", vocabulary.Name(label), count);
        }
        ulong checksum = 0;
        for (int i = 0; i < labels.Length; i++) checksum += (ulong)(i + 1) * (ulong)(labels[i] + 2);
        Console.WriteLine("checksum {0}", checksum);
    }

    private static int Main(string[] arguments)
    {
        if (arguments.Length != 2)
        {
            Console.Error.WriteLine("usage: Hello.exe MODEL VOCABULARY");
            return 2;
        }
        try
        {
            Run(arguments[0], arguments[1]);
            return 0;
        }
        catch (OpenVocab3DException error)
        {
            Console.Error.WriteLine("Hello.exe: " + error.Message);
            return 1;
        }
    }
}
